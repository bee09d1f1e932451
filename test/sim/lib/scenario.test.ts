import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { type Outcome, planOf, shrink } from "./scenario.ts";

const upTo = (count: number) => Array.from({ length: count }, (_, index) => index);

/** Fails when all of these faults are in the plan. */
function failingWith(needed: readonly number[]) {
  const runs: (readonly number[])[] = [];
  const run = async (planned: readonly number[]): Promise<Outcome> => {
    runs.push(planned);
    const fails = needed.every((index) => planned.includes(index));
    const violation = fails ? "it broke" : undefined;
    return { seed: 1, events: 0, planned, faults: {}, violation, trace: [] };
  };
  return { run, runs };
}

const cases: Record<string, { readonly needed: readonly number[]; readonly of: number }> = {
  "one of many": { needed: [17], of: 40 },
  "two far apart": { needed: [0, 39], of: 40 },
  "three neighbours": { needed: [5, 6, 7], of: 11 },
  "all of them": { needed: [0, 1, 2], of: 3 },
  "none: it fails by itself": { needed: [], of: 40 },
};

for (const [name, { needed, of }] of Object.entries(cases)) {
  test(`a failure is reduced to the faults that it needs: ${name}`, async () => {
    const { run } = failingWith(needed);
    const shrunk = await shrink(run, await run(upTo(of)));
    deepEqual(shrunk.planned, needed);
    equal(shrunk.violation, "it broke");
  });
}

test("reducing ends after so many tries, with a failure", async () => {
  const { run, runs } = failingWith([3, 90]);
  const failed = await run(upTo(100));
  const shrunk = await shrink(run, failed, 5);
  equal(runs.length, 1 + 5);
  equal(shrunk.violation, "it broke");
  ok(shrunk.planned.length < 100);
});

test("some faults of a seed's plan are the same ones, at the same times, as in the whole plan", () => {
  const options = { untilMs: 10_000, everyMs: 200 };
  const whole = planOf({ seed: 7 }, options);
  const only = [2, 30];
  deepEqual(
    planOf({ seed: 7, only }, options),
    whole.filter(({ index }) => only.includes(index)),
  );
});
