/** Schedules against the closed forms that PyTorch documents for them, by `Math`. */
import { equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import {
  constant,
  cosine,
  exponentialDecay,
  identityOf,
  linear,
  oneCycle,
  polynomial,
  type Schedule,
  stepDecay,
  warmUp,
} from "./schedule.ts";

const falling = (from: number, to: number, share: number) =>
  to + ((from - to) * (1 + Math.cos(Math.PI * Math.min(1, share)))) / 2;

const cases: readonly (readonly [Schedule, (t: number) => number])[] = [
  [constant(0.1), () => 0.1],
  [stepDecay({ from: 0.5, everySteps: 30 }), (t) => 0.5 * 0.1 ** Math.floor(t / 30)],
  [exponentialDecay({ from: 0.5, factor: 0.97 }), (t) => 0.5 * 0.97 ** t],
  [cosine({ from: 0.1, to: 0.01, steps: 80 }), (t) => falling(0.1, 0.01, t / 80)],
  [linear({ from: 0.1, steps: 80 }), (t) => 0.1 * (1 - Math.min(1, t / 80))],
  [
    polynomial({ from: 0.1, to: 0.02, steps: 80, power: 3 }),
    (t) => 0.02 + 0.08 * (1 - Math.min(1, t / 80)) ** 3,
  ],
  [
    warmUp({ steps: 10, from: 0.01, after: cosine({ from: 0.1, steps: 70 }) }),
    (t) => (t < 10 ? 0.01 + (0.09 * t) / 10 : falling(0.1, 0, (t - 10) / 70)),
  ],
  [
    oneCycle({ peak: 1, steps: 100 }),
    (t) => (t < 30 ? falling(0.04, 1, t / 30) : falling(1, 0.04 / 1e4, (t - 30) / 70)),
  ],
];

for (const [schedule, expected] of cases) {
  test(`${identityOf(schedule)} is its closed form within 1e-14, over its end too`, () => {
    for (let step = 0; step <= 120; step += 1) {
      const [actual, wanted] = [schedule(step), expected(step)];
      ok(Math.abs(actual - wanted) <= 1e-14, `step ${step}: ${actual}, not ${wanted}`);
    }
  });
}

test("a schedule of one's own is known by its text", () => {
  const own = (step: number) => 1 / (1 + step);
  equal(identityOf(own), own.toString());
});

test("lengths that make no sense are refused in words", () => {
  throws(() => cosine({ from: 1, steps: 0 }), /program-invalid.*steps is 0/);
  throws(() => polynomial({ from: 1, steps: 9, power: 0.5 }), /program-invalid.*power is 0.5/);
});
