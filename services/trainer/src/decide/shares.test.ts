import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assignByPace, decideShares, Stragglers } from "./shares.ts";

interface Case {
  /** Shards that each member has. */
  readonly has: readonly number[];
  readonly ms: readonly number[];
  readonly want: string;
}

function inputOf({ has, ms }: Pick<Case, "has" | "ms">) {
  let from = 0;
  const members = has.map((count, rank) => {
    const member = { workerId: `w${rank}`, shardFrom: from, shardTo: from + count };
    from += count;
    return member;
  });
  return { shards: from, members, paces: new Map(ms.map((one, rank) => [`w${rank}`, one])) };
}

function brief(given: Pick<Case, "has" | "ms">): string {
  const input = inputOf(given);
  const decision = decideShares(input);
  if (decision.kind === "keep") return decision.reason;
  const slow = decision.slow.map((one) => `${one.workerId} ${one.shardsBefore}>${one.shardsAfter}`);
  return slow.join(" ") || "equal";
}

const cases: Record<string, Case> = {
  "equal paces stay": { has: [4, 4], ms: [10, 10], want: "balanced" },
  "a little slower stays": { has: [4, 4], ms: [10, 14], want: "balanced" },
  "twice as slow gives two away": { has: [4, 4], ms: [10, 20], want: "w1 4>2" },
  "the first member may be the slow one": { has: [4, 4], ms: [30, 10], want: "w0 4>2" },
  "one shard is left to the slowest": { has: [2, 2, 2, 2], ms: [10, 10, 90, 10], want: "w2 2>1" },
  "what is moved already stays": { has: [6, 2], ms: [10, 20], want: "balanced" },
  "quick again: equal shares": { has: [6, 2], ms: [10, 10], want: "equal" },
  "slower still: more moves": { has: [11, 5], ms: [10, 60], want: "w1 5>2" },
  "a shard too many is no reason": { has: [3, 3, 2], ms: [10, 10, 10], want: "balanced" },
  "nothing is said before all have told": { has: [4, 4], ms: [10], want: "unknown-pace" },
  "alone there is nobody to compare with": { has: [8], ms: [10], want: "unknown-pace" },
};
for (const [name, given] of Object.entries(cases))
  test(name, () => equal(brief(given), given.want));

test("shares by pace cover all shards, leave one to everybody, and none could be moved with gain", () => {
  const paces = fc.array(fc.integer({ min: 1, max: 1000 }), { minLength: 1, maxLength: 16 });
  fc.assert(
    fc.property(paces, fc.integer({ min: 4, max: 7 }), (ms, power) => {
      const ranges = assignByPace(2 ** power, ms);
      const counts = ranges.map(({ from, to }) => to - from);
      equal(
        counts.reduce((sum, count) => sum + count, 0),
        2 ** power,
      );
      equal(Math.min(...counts) >= 1, true);
      const longest = Math.max(...counts.map((count, rank) => count * ms[rank]!));
      for (const [giver, count] of counts.entries())
        for (const [taker, theirs] of counts.entries())
          if (giver !== taker && count > 1 && count * ms[giver]! === longest)
            equal((theirs + 1) * ms[taker]! >= longest, true);
    }),
  );
});

test("a busy moment moves nothing; slowness that lasts does, once", () => {
  const stragglers = new Stragglers(1000);
  const slow = inputOf({ has: [4, 4], ms: [10, 30] });
  const fine = inputOf({ has: [4, 4], ms: [10, 10] });
  const story: [number, typeof slow][] = [
    [0, slow],
    [900, slow],
    [950, fine],
    [1100, slow],
    [2000, slow],
    [2100, slow],
    [2200, slow],
  ];
  deepEqual(
    story.map(([nowMs, input]) => stragglers.look(nowMs, input).kind),
    ["keep", "keep", "keep", "keep", "keep", "move", "keep"],
  );
});
