/** Shards of one piece that are computed one after the other or at once, and added up in one pass. */
import { setImmediate as breathe } from "node:timers/promises";
import { isSubtree, type Piece, piecesOf } from "../decide/shards.ts";
import { beginWrite, type Stamped, type Vectors } from "../exchange/memory.ts";
import type { ComputeOrder } from "./compute-messages.ts";
import type { NoiseProbe } from "./noise-probe.ts";
import type { ShardGradient } from "./shard-gradient.ts";
import { isWithin, type Subtrees } from "./subtrees.ts";

export interface JointParts {
  readonly gradient: Pick<ShardGradient, "jointMax" | "atOnce" | "start" | "sum" | "drop">;
  readonly subtrees: Subtrees;
  readonly noise: Pick<NoiseProbe, "isOn">;
  readonly vectors: Vectors;
  /** What was done is added here. */
  readonly work: { shards: number; ms: number };
}

export interface JointOrder {
  readonly order: ComputeOrder;
  /** Where the piece's sum is made, if not in a vector of the pool. */
  readonly into?: Stamped | undefined;
  /** The order that counts now: it may come while a piece is computed. */
  readonly newest: () => ComputeOrder | undefined;
}

/**
 * Finishes the piece, with the bits of its shards added up one by one; false when a newer order came in
 * between. Undefined where it must be added up one by one: a part is there already, or somebody looks
 * at a single shard.
 */
export function finishJointly(
  parts: JointParts,
  orders: JointOrder,
  piece: Piece,
): Promise<boolean> | undefined {
  const { order } = orders;
  const isAudited = order.audit !== undefined && isWithin({ lo: order.audit, size: 1 }, piece);
  const isPossible =
    piece.size > 1 && piece.size <= parts.gradient.jointMax(order) && isSubtree(piece);
  if (!isPossible || isAudited || parts.noise.isOn || parts.subtrees.hasWithin(piece))
    return undefined;
  return finish(parts, orders, piece);
}

async function finish(
  { gradient, subtrees, vectors, work }: JointParts,
  { order, newest, into }: JointOrder,
  { lo, size }: Piece,
): Promise<boolean> {
  const count = gradient.atOnce(size);
  /** Of each `count` shards, in order. */
  const runs: (readonly number[])[] = [];
  /** The piece, or the largest subtrees of it that are there. */
  const sum = () => {
    if (into !== undefined && runs.length * count === size) {
      beginWrite(vectors, into.stamp);
      return gradient.sum(runs.splice(0).flat(), into.vector);
    }
    for (const part of piecesOf({ from: lo, to: lo + runs.length * count }, "exact")) {
      const buffer = subtrees.take(order.pieces);
      beginWrite(vectors, buffer);
      gradient.sum(runs.splice(0, part.size / count).flat(), vectors.pool[buffer]!);
      subtrees.finish(part, buffer);
    }
  };
  for (let shard = lo; shard < lo + size; shard += count) {
    const startedMs = performance.now();
    runs.push(gradient.start({ step: order.step, shard, count }, vectors.parameters));
    work.shards += count;
    if (runs.length * count === size) sum();
    work.ms += performance.now() - startedMs;
    await breathe();
    if (newest() === order) continue;
    // What is there of the same step is kept; of one that is over, it is not.
    if (newest()?.step === order.step) sum();
    else gradient.drop(runs.flat());
    return false;
  }
  return true;
}
