/**
 * The exchange alone, for tests and benchmarks: an exact all-reduce among processes over the real peers, frames
 * and reduction. Each process opens its rank, then all call `allReduce` with equal arguments.
 */
import { setImmediate as breathe } from "node:timers/promises";
import type { Layout } from "@coxswain/engine";
import type { SharedMemory } from "@coxswain/shared-memory";
import { assignShards, type ExchangeMode, piecesOf } from "../decide/shards.ts";
import type { Frame } from "./frames.ts";
import { GroupExchange } from "./group-exchange.ts";
import { buildKernels } from "./kernels.ts";
import { allocate, beginWrite, vectorsOf } from "./memory.ts";
import { type ControlMessage, Peers, type PeersOptions } from "./peers.ts";
import { Reduce, type ReduceOptions } from "./reduce.ts";
import { placeOfProcess, SharedPeers } from "./shared-peers.ts";

export interface ExchangeOptions {
  readonly rank: number;
  readonly world: number;
  /** A power of two; default the ranks, rounded up to one. */
  readonly shards?: number;
  /** Default `exact`. */
  readonly mode?: ExchangeMode;
  /** Floats of the vector, a multiple of 16. */
  readonly floats: number;
  /** Same for all; proves that they belong together. */
  readonly secret: string;
  /** Absent: numbers go through the connections. */
  readonly memory?: SharedMemory | undefined;
  /** False: what lies in shared memory is told over connections. Default: by the boards in it. */
  readonly areBoardsUsed?: boolean | undefined;
  /** Ranks of one machine share memory; here each machine has so many. Default: all on one. */
  readonly ranksPerMachine?: number | undefined;
  readonly connections?:
    | Pick<PeersOptions, "checksum" | "isLocalAllowed" | "isEncrypted">
    | undefined;
}

export interface Exchange {
  /** host:port of this rank. */
  readonly address: string;
  /** Connects to all ranks below; call when every rank listens. */
  connect(addresses: readonly string[]): Promise<void>;
  /** The own contribution: `change` it before `allReduce`. */
  readonly input: Float32Array;
  change(fill: (input: Float32Array) => void): void;
  /** Resolves when all ranks have called it. */
  barrier(): Promise<void>;
  /** Resolves with the sum over all ranks, added in the canonical tree. Valid until the next but one call. */
  allReduce(): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Opens one rank. The input is the first piece of its shards; the others are zero. */
export async function openExchange(options: ExchangeOptions): Promise<Exchange> {
  const { rank, world, floats, secret, mode = "exact", ranksPerMachine = world } = options;
  const machineOf = (other: number) => Math.floor(other / ranksPerMachine);
  const shards = options.shards ?? 2 ** Math.ceil(Math.log2(world));
  const layout: Layout = {
    segments: [],
    parameterFloats: 0,
    metricNames: [],
    vectorFloats: floats,
    slotCount: 0,
  };
  const areas = allocate(layout, shards, options.memory === undefined ? 0 : world - 1);
  const tell = (id: string, message: ControlMessage) => peers.tell(id, message);
  const sharing =
    options.memory && areas.windows > 0
      ? new SharedPeers({
          ...{ memory: options.memory, areas, tell },
          place: `${await placeOfProcess()} ${machineOf(rank)}`,
          log: (sentence, fields) => process.emitWarning(`${sentence} ${JSON.stringify(fields)}`),
        })
      : undefined;
  const vectors = vectorsOf(areas);
  const kernels = buildKernels(areas.memory);
  const ranges = assignShards(shards, world);
  const pieces = piecesOf(ranges[rank]!, mode);
  const input = vectors.pool[0]!;
  const zero = 1;
  const send = (other: number, frame: Buffer) => peers.send(nameOf(other), frame);
  const sendVector: ReduceOptions["sendVector"] = (other, head, vector) =>
    peers.sendVector(nameOf(other), head, vector);
  const among = sharing && {
    sharing: {
      windowOf: (other: number) => sharing.windowOf(nameOf(other)),
      isMappedBy: (other: number) => sharing.isMappedBy(nameOf(other)),
    },
  };
  const group = new GroupExchange({ areas, vectors, kernels, mode, bells: options.memory });
  const isGroup = (options.areBoardsUsed ?? true) && sharing !== undefined;
  const windows = (): (number | undefined)[] =>
    ranges.map((_, other) => (other === rank ? undefined : sharing?.windowIndexOf(nameOf(other))));
  const rounds = new Rounds({
    ...{ generation: 1, shards, mode, rank, ranges, vectors, vectorFloats: floats, kernels },
    ...{ send, sendVector },
    ...among,
  });
  const onFrame = (from: string, frame: Frame) => {
    const refused = rounds.at(frame.step).reduce.receive(frame, Number(from.slice(1)));
    if (refused !== undefined) throw new Error(`a frame was refused: ${refused}`);
  };
  const peers = new Peers(
    {
      ...{ jobId: "bench", workerId: nameOf(rank), secret },
      ...{ host: "127.0.0.1", handshakeTimeoutMs: 5000, ...options.connections },
    },
    {
      onFrame,
      onConnected: (id) => sharing?.onConnected(id),
      onControl: (id, message) => {
        if (sharing?.onControl(id, message) !== true) barrier.onControl(message);
      },
      onLost: () => undefined,
    },
  );
  peers.useBuffers(vectors.receiveBuffers);
  const barrier = new Barrier(rank, world, (other, kind) => tell(nameOf(other), { kind }));
  let step = 0;
  let met = 0;
  /** In a word of the boards that nobody uses otherwise: who is woken by a message begins later. */
  const meet = async (own: Int32Array): Promise<void> => {
    met += 1;
    Atomics.store(own, meetingWord, met);
    options.memory?.wake(own, meetingWord);
    for (const [other] of ranges.entries()) {
      const board = other === rank ? own : sharing!.windowOf(nameOf(other))!.board;
      for (;;) {
        const seen = Atomics.load(board, meetingWord);
        if (seen >= met) break;
        options.memory!.wait(board, meetingWord, seen, 1000);
        await breathe();
      }
    }
  };
  return {
    address: await peers.listen(),
    input,
    connect: async (addresses) => {
      await connectAll(peers, rank, addresses);
      const beside = addresses
        .map((_, other) => other)
        .filter((other) => other !== rank && machineOf(other) === machineOf(rank));
      while (sharing !== undefined && !beside.every((other) => sharing.isMappedBy(nameOf(other))))
        await soon();
    },
    change: (fill) => {
      beginWrite(vectors, 0);
      fill(input);
    },
    barrier: () => (isGroup && ranksPerMachine >= world ? meet(vectors.board) : barrier.wait()),
    allReduce: async () => {
      const present = step;
      const turn = (present % 2) as 0 | 1;
      step += 1;
      if (isGroup && ranksPerMachine >= world) {
        const place = { generation: 1, step: present, turn };
        const reduce = group.begin({ ...place, rank, ranges, windows: windows() });
        for (const [index, piece] of pieces.entries()) reduce.give(piece, index ? zero : 0);
        await group.finish(reduce, () => true);
        return vectors.reduced[turn];
      }
      const { reduce, whole } = rounds.at(present);
      for (const [index, piece] of pieces.entries()) reduce.give(piece, index ? zero : 0);
      await whole;
      rounds.forget(present);
      return vectors.reduced[turn];
    },
    close: () => peers.close(),
  };
}

/** Everybody tells the first rank, which tells everybody. */
class Barrier {
  readonly #rank: number;
  readonly #world: number;
  readonly #tell: (rank: number, kind: string) => void;
  #ready = 0;
  #gone = 0;
  #waiting: { readonly until: () => boolean; readonly resolve: () => void } | undefined;

  constructor(rank: number, world: number, tell: (rank: number, kind: string) => void) {
    this.#rank = rank;
    this.#world = world;
    this.#tell = tell;
  }

  onControl({ kind }: ControlMessage): void {
    if (kind === "ready") this.#ready += 1;
    if (kind === "go") this.#gone += 1;
    if (this.#waiting?.until()) this.#waiting.resolve();
  }

  async wait(): Promise<void> {
    const others = this.#world - 1;
    if (this.#rank > 0) {
      this.#tell(0, "ready");
      await this.#until(() => this.#gone > 0);
      this.#gone -= 1;
      return;
    }
    await this.#until(() => this.#ready >= others);
    this.#ready -= others;
    for (let other = 1; other <= others; other += 1) this.#tell(other, "go");
  }

  #until(until: () => boolean): Promise<void> {
    if (until()) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiting = { until, resolve };
    });
  }
}

/** The all-reduces that are on their way: a fast peer is one ahead. */
class Rounds {
  readonly #common: Omit<ReduceOptions, "step" | "turn" | "onWhole">;
  readonly #rounds = new Map<number, { readonly reduce: Reduce; readonly whole: Promise<void> }>();

  constructor(common: Omit<ReduceOptions, "step" | "turn" | "onWhole">) {
    this.#common = common;
  }

  at(step: number) {
    let round = this.#rounds.get(step);
    if (round === undefined) {
      const whole = Promise.withResolvers<void>();
      const turn = (step % 2) as 0 | 1;
      const reduce = new Reduce({ ...this.#common, step, turn, onWhole: whole.resolve });
      round = { reduce, whole: whole.promise };
      this.#rounds.set(step, round);
    }
    return round;
  }

  forget(step: number): void {
    this.#rounds.delete(step);
  }
}

/** The higher rank connects; resolves when all pairs are connected. */
async function connectAll(peers: Peers, rank: number, addresses: readonly string[]): Promise<void> {
  for (let other = 0; other < rank; other += 1)
    await peers.connect(nameOf(other), addresses[other]!);
  while (addresses.some((_, other) => other !== rank && !peers.isConnected(nameOf(other))))
    await soon();
}

const meetingWord = 8;
const nameOf = (rank: number) => `r${rank}`;
const soon = () => new Promise((resolve) => setTimeout(resolve, 5));
