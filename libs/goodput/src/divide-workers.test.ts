import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Choice, divideWorkers } from "./divide-workers.ts";

/** Worth of 0, 1, 2, … workers. */
const worths = (...values: number[]): Choice[] =>
  values.map((worth, workers) => ({ workers, worth }));

const cases: Record<
  string,
  { jobs: Choice[][]; room: number; want: readonly number[] | undefined }
> = {
  "no job, nothing to divide": { jobs: [], room: 4, want: [] },
  "a job takes what is worth most": { jobs: [worths(0, 3, 5, 4)], room: 8, want: [2] },
  "who makes more of a worker gets it": {
    jobs: [worths(0, 3, 4), worths(0, 5, 9)],
    room: 2,
    want: [0, 2],
  },
  "two halves may be worth more than a whole": {
    jobs: [worths(0, 5, 8), worths(0, 5, 8)],
    room: 2,
    want: [1, 1],
  },
  "a jump is seen beyond a step that brings nothing": {
    jobs: [worths(0, 0, 0, 9), worths(0, 2, 4, 6)],
    room: 3,
    want: [3, 0],
  },
  "a minimum is kept, worth it or not": {
    jobs: [[{ workers: 2, worth: -1 }], worths(0, 9, 9)],
    room: 2,
    want: [2, 0],
  },
  "what cannot be is said": { jobs: [[{ workers: 3, worth: 1 }]], room: 2, want: undefined },
  "at a tie the smaller count wins": { jobs: [worths(0, 1, 1)], room: 2, want: [1] },
};

for (const [name, { jobs, room, want }] of Object.entries(cases))
  test(name, () => deepEqual(divideWorkers(jobs, room), want));

test("no division is better: all of them were tried", () => {
  const job = fc.array(fc.integer({ min: -3, max: 20 }), { minLength: 1, maxLength: 5 });
  fc.assert(
    fc.property(fc.array(job, { minLength: 1, maxLength: 4 }), fc.nat(8), (values, room) => {
      const jobs = values.map((ofJob) => worths(...ofJob));
      const counts = divideWorkers(jobs, room)!;
      const total = counts.reduce((sum, count, index) => sum + values[index]![count]!, 0);
      ok(counts.reduce((sum, count) => sum + count, 0) <= room);
      equal(total, bestByTrial(values, room));
    }),
  );
});

function bestByTrial([first, ...rest]: readonly number[][], room: number): number {
  if (first === undefined) return 0;
  return Math.max(
    ...first.flatMap((worth, count) =>
      count <= room ? [worth + bestByTrial(rest, room - count)] : [],
    ),
  );
}
