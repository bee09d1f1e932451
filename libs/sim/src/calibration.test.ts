import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { fillNormal } from "@coxswain/domain";
import { Calibration, coverage, forecastKinds, type Score, scoreOf } from "./calibration.ts";

const none = Object.fromEntries(
  forecastKinds.map((kind) => [kind, [{ early: 0, late: 0 }]]),
) as unknown as Record<(typeof forecastKinds)[number], Score[]>;

test("whatever the misses are like, the interval comes to hold what it promises", () => {
  const draws = new Float32Array(4000);
  fillNormal({ seed: 3, purpose: 1, a: 0, b: 0 }, draws);
  const calibration = new Calibration(none);
  let [inside, judged] = [0, 0];
  for (const [index, draw] of draws.entries()) {
    const nowMs = index * 1e7;
    const raw = { expectedMs: nowMs + 1e6, earliestMs: nowMs + 9e5, latestMs: nowMs + 1.2e6 };
    // Twice as late as was said, most often, and with a long tail.
    const actualMs = nowMs + 1e6 * Math.exp(0.7 + 0.8 * draw);
    if (index >= 1000) {
      const { earliestMs, latestMs } = calibration.calibrated("start", raw, nowMs);
      judged += 1;
      if (earliestMs <= actualMs && actualMs <= latestMs) inside += 1;
    }
    calibration.note("start", scoreOf(raw, nowMs, actualMs));
  }
  ok(Math.abs(inside / judged - coverage) < 0.025, `${inside / judged}`);
});

test("an interval that always held the truth with room to spare becomes narrower; kinds stay apart", () => {
  const raw = { expectedMs: 100_000, earliestMs: 50_000, latestMs: 200_000 };
  const calibration = new Calibration(none);
  for (let time = 0; time < 100; time += 1)
    calibration.note("end-running", scoreOf(raw, 0, 100_000));
  deepEqual(calibration.calibrated("end-running", raw, 0), {
    expectedMs: 100_000,
    earliestMs: 100_000,
    latestMs: 100_000,
  });
  deepEqual(calibration.calibrated("start", raw, 0), raw);
});
