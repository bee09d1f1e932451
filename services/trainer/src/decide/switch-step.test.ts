import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { switchStepOf } from "./switch-step.ts";

const steps = 1000;
const after = (step: number) => step + 1;
const cases: Record<string, [number, number | undefined, number | undefined]> = {
  "steps of 10 ms: ten of them ahead": [100, 10, 110],
  "steps of 7 ms: whole ones": [100, 7, 115],
  "long steps: two ahead, since others may be one ahead": [100, 30_000, 102],
  "very short steps: not further than 256": [100, 0.001, 356],
  "the pace is not known": [100, undefined, undefined],
  "the last step may be the first of the new generation": [989, 10, 999],
  "the end is too near": [990, 10, undefined],
};

for (const [name, [step, stepMs, want]] of Object.entries(cases))
  test(name, () => deepEqual(switchStepOf({ step, after, stepMs, steps }), want));

test("it is where an update begins, however many steps that is", () => {
  const four = (step: number) => step + 4;
  deepEqual(switchStepOf({ step: 101, after: four, stepMs: 30_000, steps }), 109);
  deepEqual(switchStepOf({ step: 993, after: four, stepMs: 30_000, steps }), undefined);
});
