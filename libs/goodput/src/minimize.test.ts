import { ok } from "node:assert/strict";
import { test } from "node:test";
import { type Box, minimize } from "./minimize.ts";

const wide: Box = { lower: [-10, -10], upper: [10, 10] };

/** (1 - x)^2 + 100 (y - x^2)^2: a bent valley with its floor at (1, 1). */
function rosenbrock([x, y]: readonly number[], slope: number[]): number {
  slope[0] = -2 * (1 - x!) - 400 * x! * (y! - x! ** 2);
  slope[1] = 200 * (y! - x! ** 2);
  return (1 - x!) ** 2 + 100 * (y! - x! ** 2) ** 2;
}

const cases: Record<string, { box: Box; want: readonly [number, number] }> = {
  "a bent valley is followed to its floor": { box: wide, want: [1, 1] },
  "a bound in the way is where it ends": {
    box: { lower: [-10, -10], upper: [0.5, 10] },
    want: [0.5, 0.25],
  },
  "a variable without room stays": { box: { lower: [-10, 2], upper: [10, 2] }, want: [1.4137, 2] },
};

for (const [name, { box, want }] of Object.entries(cases)) {
  test(name, () => {
    const { x } = minimize(rosenbrock, [0.4, 0], box);
    for (const [index, value] of want.entries())
      ok(Math.abs(x[index]! - value) < 1e-3, `${x} instead of ${want}`);
  });
}
