import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { afterUpdate, strideAt, updatesBefore, withChange } from "./batch-schedule.ts";

const change = (fromStep: number, batchSize: number, learningRateFactor = 1) => ({
  ...{ fromStep, batchSize, learningRateFactor },
  decision: 0,
});
const course = {
  batchSize: 32,
  steps: 21,
  changes: [change(5, 128, 3), change(14, 64, 2)],
};

test("an update takes as many steps as its batch is larger; the last one takes what is left", () => {
  const begins: number[] = [];
  for (let step = 0; step < course.steps; step = afterUpdate(course, step)) begins.push(step);
  deepEqual(begins, [0, 1, 2, 3, 4, 5, 9, 13, 14, 16, 18, 20]);
});

test("the learning rate goes with the batch", () => {
  deepEqual(strideAt(course, 4), { steps: 1, learningRateFactor: 1 });
  deepEqual(strideAt(course, 5), { steps: 4, learningRateFactor: 3 });
  deepEqual(strideAt(course, 13), { steps: 1, learningRateFactor: 1 });
  deepEqual(strideAt(course, 20), { steps: 1, learningRateFactor: 1 });
});

test("a new change gives up what was to come later", () => {
  const wanted = { batchSize: 256, learningRateFactor: 4, decision: 9 };
  deepEqual(withChange(course.changes, 9, wanted), [change(5, 128, 3), { fromStep: 9, ...wanted }]);
});

test("whatever the changes: every step belongs to one update, and updates are counted one by one", () => {
  const anyChanges = fc
    .uniqueArray(fc.tuple(fc.nat(60), fc.integer({ min: 1, max: 9 })), {
      selector: ([at]) => at,
      maxLength: 5,
    })
    .map((list) => list.sort(([a], [b]) => a - b).map(([at, times]) => change(at, times * 8)));
  fc.assert(
    fc.property(anyChanges, fc.integer({ min: 1, max: 80 }), (changes, steps) => {
      const made = { batchSize: 8, steps, changes };
      let [step, updates] = [0, 0];
      for (; step < steps; updates += 1) {
        equal(updatesBefore(made, step), updates);
        step = afterUpdate(made, step);
      }
      equal(step, steps);
    }),
  );
});
