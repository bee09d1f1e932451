/**
 * On which of the nodes that have room a worker goes.
 *
 * Fragmentation gradient descent (Weng et al., "Beware of Fragmentation: Scheduling GPU-Sharing
 * Workloads with Fragmentation Gradient Descent", USENIX ATC'23): where the room that is expected to
 * be of no use grows the least. Of a node's free room, a shape of worker strands what is left when
 * as many of it as fit are put there:
 *
 *   stranded(free) = sum over shapes of popularity * sum over resources of
 *                    (free_r - fitting * need_r) / capacity_r         capacity: of the whole cluster
 *
 * The paper counts GPUs alone, of which a worker here takes whole ones; counting every resource by
 * how scarce it is makes the same rule serve cores, memory and bandwidth. Where nodes are alike the
 * fullest one wins (best fit). Only the fullest different ones are looked at, so that a choice costs
 * the same in a large cluster.
 */
import type { Shape } from "./demand.ts";
import type { Units } from "./vector.ts";

export const nodeChoices = ["fgd", "best-fit", "first-fit"] as const;
export type NodeChoice = (typeof nodeChoices)[number];

/** Free rooms whose answer is remembered. */
const knownMax = 20_000;
/** Differences that are the arithmetic's own do not decide. */
const negligible = 1e-12;

export interface Candidate {
  readonly nodeId: string;
  readonly free: Units;
}

/** How much less of the free room would be of use, as a part of the cluster; negative where it is more. */
export type Growth = (free: Units, need: Units) => number;

export function growthFor(shapes: readonly Shape[], capacity: Units): Growth {
  const weights = capacity.map((one) => (one > 0 ? 1 / one : 0));
  const known = new Map<string, number>();
  const stranded = (free: Units) => {
    const key = free.join();
    let expected = known.get(key);
    if (expected !== undefined) return expected;
    expected = 0;
    for (const { units, popularity } of shapes)
      expected += popularity * strandedBy(units, free, weights);
    if (known.size >= knownMax) known.clear();
    known.set(key, expected);
    return expected;
  };
  return (free, need) => stranded(less(free, need)) - stranded(free);
}

function strandedBy(need: Units, free: Units, weights: Units): number {
  let fitting = Number.POSITIVE_INFINITY;
  for (let index = 0; index < need.length; index += 1)
    if (need[index]! > 0) fitting = Math.min(fitting, Math.floor(free[index]! / need[index]!));
  const count = Number.isFinite(fitting) ? Math.max(0, fitting) : 0;
  let part = 0;
  for (let index = 0; index < need.length; index += 1)
    part += (free[index]! - count * need[index]!) * weights[index]!;
  return part;
}

const less = (free: Units, need: Units) => free.map((one, index) => one - need[index]!);

/** The first of those with the least growth; `candidates` stand in the order of preference. */
export function leastGrowth<One extends Candidate>(
  candidates: readonly One[],
  need: Units,
  growth: Growth,
): One | undefined {
  let best: One | undefined;
  let least = Number.POSITIVE_INFINITY;
  for (const one of candidates) {
    const grows = growth(one.free, need);
    if (grows >= least - negligible) continue;
    best = one;
    least = grows;
  }
  return best;
}
