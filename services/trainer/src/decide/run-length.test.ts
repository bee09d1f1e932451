import { equal } from "node:assert/strict";
import { test } from "node:test";
import { type RunInput, runLengthOf } from "./run-length.ts";

const never = () => false;
const usual: RunInput = {
  ...{ step: 100, steps: 1000, updateMs: 5, max: 64 },
  strideAt: () => ({ steps: 1, learningRateFactor: 1 }),
  mustLookBefore: never,
  mustStopBetween: never,
};

const cases: Record<string, { readonly given: Partial<RunInput>; readonly length: number }> = {
  "a hundred milliseconds long": { given: {}, length: 20 },
  "no longer than it may be": { given: { updateMs: 0.001 }, length: 64 },
  "one, where an update takes as long": { given: { updateMs: 110 }, length: 1 },
  "one, while nobody knows what an update takes": { given: { updateMs: undefined }, length: 1 },
  "up to the end of the job": { given: { step: 997 }, length: 3 },
  "up to a planned change, and not into it": {
    given: { mustLookBefore: (step) => step >= 104 },
    length: 4,
  },
  "up to a checkpoint": {
    given: { mustStopBetween: (step, next) => step < 106 && next >= 106 },
    length: 6,
  },
  "up to another batch": {
    given: { strideAt: (step) => ({ steps: step < 103 ? 1 : 2, learningRateFactor: 1 }) },
    length: 3,
  },
  "up to another learning rate": {
    given: { strideAt: (step) => ({ steps: 2, learningRateFactor: step < 104 ? 2 : 1.5 }) },
    length: 2,
  },
};

for (const [name, { given, length }] of Object.entries(cases))
  test(`a run is ${name}`, () => equal(runLengthOf({ ...usual, ...given }), length));
