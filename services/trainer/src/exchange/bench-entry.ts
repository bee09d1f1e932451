/**
 * The exchange alone, for benchmarks: an exact all-reduce among processes over the real peers, frames
 * and reduction. Each process opens its rank, then all call `allReduce` with equal arguments.
 */
import type { Layout } from "@coxswain/engine";
import { assignShards, piecesOf } from "../decide/shards.ts";
import { type Frame, frameTypes } from "./frames.ts";
import { allocate, buildAdd, vectorsOf } from "./memory.ts";
import { Peers } from "./peers.ts";
import { Reduce, type ReduceOptions } from "./reduce.ts";

export interface BenchExchangeOptions {
  readonly rank: number;
  readonly world: number;
  /** Floats of the vector, a multiple of 16. */
  readonly floats: number;
  /** Same for all; proves that they belong together. */
  readonly secret: string;
}

export interface BenchExchange {
  /** host:port of this rank. */
  readonly address: string;
  /** Connects to all ranks below; call when every rank listens. */
  connect(addresses: readonly string[]): Promise<void>;
  /** The own contribution: fill it before `allReduce`. */
  readonly input: Float32Array;
  /** Resolves with the sum over all ranks, added in the canonical tree. Valid until the next but one call. */
  allReduce(): Promise<Float32Array>;
  close(): Promise<void>;
}

/** Opens one rank. The shards are the ranks, rounded up to a power of two; spare shards are zero. */
export async function openBenchExchange(options: BenchExchangeOptions): Promise<BenchExchange> {
  const { rank, world, floats, secret } = options;
  let shards = 1;
  while (shards < world) shards *= 2;
  const layout: Layout = {
    segments: [],
    parameterFloats: 0,
    metricNames: [],
    vectorFloats: floats,
    slotCount: 0,
  };
  const areas = allocate(layout, shards);
  const vectors = vectorsOf(areas);
  const add = buildAdd(areas.memory);
  const ranges = assignShards(shards, world);
  const pieces = piecesOf(ranges[rank]!);
  const input = vectors.pool[0]!;
  const zero = vectors.pool[1]!;
  const send = (other: number, frame: Buffer) => peers.send(`r${other}`, frame);
  const common = { generation: 1, shards, rank, ranges, vectors, vectorFloats: floats, add, send };
  const rounds = new Rounds(common);
  const onFrame = (_: string, frame: Frame) => {
    if (frame.type === frameTypes.piece || frame.type === frameTypes.result)
      rounds.at(frame.step).reduce.receive(frame);
  };
  const ignore = () => undefined;
  const peers = new Peers(
    { jobId: "bench", workerId: `r${rank}`, secret, host: "127.0.0.1", handshakeTimeoutMs: 5000 },
    { onFrame, onConnected: ignore, onControl: ignore, onLost: ignore },
  );
  let step = 0;
  return {
    address: await peers.listen(),
    input,
    connect: (addresses) => connectAll(peers, rank, addresses),
    allReduce: async () => {
      const present = step;
      step += 1;
      const { reduce, whole } = rounds.at(present);
      for (const [index, piece] of pieces.entries()) reduce.give(piece, index ? zero : input);
      await whole;
      rounds.forget(present);
      return vectors.reduced[(present % 2) as 0 | 1];
    },
    close: () => peers.close(),
  };
}

/** The all-reduces that are on their way: a fast peer is one ahead. */
class Rounds {
  readonly #common: Omit<ReduceOptions, "step" | "onWhole">;
  readonly #rounds = new Map<number, { readonly reduce: Reduce; readonly whole: Promise<void> }>();

  constructor(common: Omit<ReduceOptions, "step" | "onWhole">) {
    this.#common = common;
  }

  at(step: number) {
    let round = this.#rounds.get(step);
    if (round === undefined) {
      const whole = Promise.withResolvers<void>();
      const reduce = new Reduce({ ...this.#common, step, onWhole: whole.resolve });
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
  for (let other = 0; other < rank; other += 1) await peers.connect(`r${other}`, addresses[other]!);
  while (addresses.some((_, other) => other !== rank && !peers.isConnected(`r${other}`)))
    await new Promise((resolve) => setTimeout(resolve, 5));
}
