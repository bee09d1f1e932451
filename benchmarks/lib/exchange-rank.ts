/**
 * One rank of the exchange benchmark, in its own process: the worker's own connections and
 * all-reduce, without a training around them. Each round starts with a barrier, as the peer's does.
 */
import { assert } from "@coxswain/domain";
import type { Layout } from "@coxswain/engine";
import { assignShards, type Piece, piecesOf } from "../../services/trainer/src/decide/shards.ts";
import { allocate, buildAdd, vectorsOf } from "../../services/trainer/src/exchange/memory.ts";
import { type ControlMessage, Peers } from "../../services/trainer/src/exchange/peers.ts";
import { Reduce } from "../../services/trainer/src/exchange/reduce.ts";

/** What the parent says, in this order. */
export type ToRank =
  | { readonly kind: "start"; readonly rank: number; readonly ranks: number }
  | { readonly kind: "peers"; readonly addresses: readonly string[] }
  | { readonly kind: "measure"; readonly bytes: number; readonly rounds: number };

const warmUps = 3;
const nameOf = (rank: number) => `rank-${rank}`;

class Rank {
  readonly #rank: number;
  readonly #ranks: number;
  readonly #peers: Peers;
  #reduce: Reduce | undefined;
  #connected = 0;
  #ready = 0;
  readonly #allConnected = Promise.withResolvers<void>();
  #allReady = Promise.withResolvers<void>();
  #go = Promise.withResolvers<void>();

  constructor(rank: number, ranks: number) {
    this.#rank = rank;
    this.#ranks = ranks;
    const options = {
      jobId: "bench",
      workerId: nameOf(rank),
      secret: "bench",
      host: "127.0.0.1",
      handshakeTimeoutMs: 5000,
    };
    this.#peers = new Peers(options, {
      onConnected: () => {
        this.#connected += 1;
        if (this.#connected === ranks - 1) this.#allConnected.resolve();
      },
      onFrame: (_, frame) => {
        const refused = this.#reduce?.receive(frame);
        assert(refused === undefined, `a frame was refused: ${refused}`);
      },
      onControl: (_, message) => this.#onControl(message),
      onLost: () => undefined,
    });
  }

  listen(): Promise<string> {
    return this.#peers.listen();
  }

  async connect(addresses: readonly string[]): Promise<void> {
    for (let other = 0; other < this.#rank; other += 1)
      await this.#peers.connect(nameOf(other), addresses[other]!);
    await this.#allConnected.promise;
  }

  #onControl({ kind }: ControlMessage): void {
    if (kind === "go") this.#go.resolve();
    if (kind !== "ready") return;
    this.#ready += 1;
    if (this.#ready === this.#ranks - 1) this.#allReady.resolve();
  }

  async #barrier(): Promise<void> {
    if (this.#rank === 0) {
      await this.#allReady.promise;
      this.#ready = 0;
      this.#allReady = Promise.withResolvers();
      for (let other = 1; other < this.#ranks; other += 1)
        this.#peers.tell(nameOf(other), { kind: "go" });
      return;
    }
    this.#go = Promise.withResolvers();
    this.#peers.tell(nameOf(0), { kind: "ready" });
    await this.#go.promise;
  }

  /** Milliseconds of each round, from the barrier to the whole sum. */
  async measure(bytes: number, rounds: number): Promise<number[]> {
    const floats = Math.ceil(bytes / 4 / 16) * 16;
    const layout: Layout = {
      segments: [],
      parameterFloats: 16,
      metricNames: ["loss"],
      vectorFloats: floats,
      slotCount: 0,
    };
    const areas = allocate(layout, this.#ranks);
    const vectors = vectorsOf(areas);
    const add = buildAdd(areas.memory);
    const ranges = assignShards(this.#ranks, this.#ranks);
    const [piece] = piecesOf(ranges[this.#rank]!) as [Piece];
    const own = vectors.pool[0]!.fill(this.#rank + 1);
    const ms: number[] = [];
    for (let step = 0; step < rounds + warmUps; step += 1) {
      const whole = Promise.withResolvers<void>();
      this.#reduce = new Reduce({
        generation: 1,
        step,
        shards: this.#ranks,
        rank: this.#rank,
        ranges,
        vectors,
        vectorFloats: floats,
        add,
        send: (other, frame) => this.#peers.send(nameOf(other), frame),
        onWhole: whole.resolve,
      });
      await this.#barrier();
      const startedMs = performance.now();
      this.#reduce.give(piece, own);
      await whole.promise;
      if (step >= warmUps) ms.push(performance.now() - startedMs);
    }
    const sum = (this.#ranks * (this.#ranks + 1)) / 2;
    for (const reduced of vectors.reduced)
      assert(reduced[0] === sum && reduced.at(-1) === sum, "the sum is right");
    return ms;
  }
}

let rank: Rank | undefined;
process.on("message", (message: ToRank) => void handle(message));
process.on("disconnect", () => process.exit(0));

async function handle(message: ToRank): Promise<void> {
  if (message.kind === "start") {
    rank = new Rank(message.rank, message.ranks);
    process.send?.({ address: await rank.listen() });
  } else if (message.kind === "peers") {
    await rank!.connect(message.addresses);
    process.send?.({ connected: true });
  } else {
    process.send?.({ ms: await rank!.measure(message.bytes, message.rounds) });
  }
}
