/**
 * Who is slower than the others for long, and whether moving shards away from it is worth a new
 * generation. Nothing of it changes a bit of the result: a shard is the same wherever it is computed.
 *
 * A member is slow when a shard takes it `slowRatio` times as long as the median of the others. Shards
 * are moved, there or back, when the slowest member would need a fifth less time, and that has been so
 * for `patienceMs`: a busy second is no reason.
 */
import { assert } from "@coxswain/domain";
import { assignShards, type ShardRange } from "./shards.ts";

/** What a member needs for one shard, milliseconds. */
export type Paces = ReadonlyMap<string, number>;

export interface SharesInput {
  readonly shards: number;
  readonly members: readonly {
    readonly workerId: string;
    readonly shardFrom: number;
    readonly shardTo: number;
  }[];
  /** Of every member; without one of them nothing can be said. */
  readonly paces: Paces;
}

export interface Slow {
  readonly workerId: string;
  readonly msPerShard: number;
  /** The median of the others. */
  readonly othersMsPerShard: number;
  readonly shardsBefore: number;
  readonly shardsAfter: number;
}

export type SharesDecision =
  | { readonly kind: "keep"; readonly reason: "unknown-pace" | "balanced" }
  /** `weights` are the paces to assign shards by; undefined: equal shares again. */
  | { readonly kind: "move"; readonly slow: readonly Slow[]; readonly weights: Paces | undefined };

const slowRatio = 1.5;
const gainMin = 0.2;
export const patienceMsDefault = 10_000;

function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Judges the present moment; patience is the caller's (see `Stragglers`). */
export function decideShares({ shards, members, paces }: SharesInput): SharesDecision {
  const known = members.map(({ workerId }) => paces.get(workerId) ?? Number.NaN);
  if (members.length < 2 || !known.every((ms) => ms > 0))
    return { kind: "keep", reason: "unknown-pace" };
  const others = (rank: number) => median(known.filter((_, other) => other !== rank));
  const isSlow = known.map((ms, rank) => ms > slowRatio * others(rank));
  const usual = median(known.filter((_, rank) => !isSlow[rank]));
  // The quick ones count as equal, so that their shares differ by the slow ones' rest only.
  const weights = known.map((ms, rank) => (isSlow[rank] ? ms : usual));
  const after = isSlow.includes(true)
    ? assignByPace(shards, weights)
    : assignShards(shards, members.length);
  const now = members.map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo }));
  const gain = 1 - longest(after, weights) / longest(now, weights);
  if (gain < gainMin) return { kind: "keep", reason: "balanced" };
  const slow = members.flatMap(({ workerId, shardFrom, shardTo }, rank): Slow[] =>
    isSlow[rank]
      ? [
          {
            workerId,
            msPerShard: known[rank]!,
            othersMsPerShard: others(rank),
            shardsBefore: shardTo - shardFrom,
            shardsAfter: after[rank]!.to - after[rank]!.from,
          },
        ]
      : [],
  );
  const byWorker = new Map(members.map(({ workerId }, rank) => [workerId, weights[rank]!]));
  return { kind: "move", slow, weights: slow.length > 0 ? byWorker : undefined };
}

function longest(ranges: readonly ShardRange[], msPerShard: readonly number[]): number {
  return Math.max(...ranges.map(({ from, to }, rank) => (to - from) * msPerShard[rank]!));
}

/**
 * Contiguous ranges such that the longest time of a member is least: each shard in turn goes to who
 * would be done first with one more. Everybody has one at least; ties go to the lower rank.
 */
export function assignByPace(shards: number, msPerShard: readonly number[]): ShardRange[] {
  assert(msPerShard.length >= 1 && msPerShard.length <= shards, "each member has a shard");
  const counts = msPerShard.map(() => 1);
  for (let given = msPerShard.length; given < shards; given += 1) {
    let first = 0;
    for (const [rank, ms] of msPerShard.entries())
      if ((counts[rank]! + 1) * ms < (counts[first]! + 1) * msPerShard[first]!) first = rank;
    counts[first] = counts[first]! + 1;
  }
  let from = 0;
  return counts.map((count) => {
    const range = { from, to: from + count };
    from = range.to;
    return range;
  });
}

/** Remembers for how long a move would have been worth it. The caller brings the time. */
export class Stragglers {
  readonly #patienceMs: number;
  #sinceMs: number | undefined;

  constructor(patienceMs: number) {
    this.#patienceMs = patienceMs;
  }

  look(nowMs: number, input: SharesInput): SharesDecision {
    const decision = decideShares(input);
    if (decision.kind === "keep") {
      this.#sinceMs = undefined;
      return decision;
    }
    this.#sinceMs ??= nowMs;
    if (nowMs - this.#sinceMs < this.#patienceMs) return { kind: "keep", reason: "balanced" };
    this.#sinceMs = undefined;
    return decision;
  }
}
