import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decideWorkers, type JobSpeed } from "./decide-workers.ts";
import { fitSpeed, speedAt } from "./speed-curve.ts";

const policy = { freezeMs: 10_000, gainMin: 0.15 };

/** Measured speeds by number of workers. */
function jobOf(measured: Readonly<Record<number, number>>, more: Partial<JobSpeed> = {}): JobSpeed {
  return {
    jobId: "j",
    nowMs: 100_000,
    changedAtMs: 0,
    workersNow: 2,
    workersWanted: undefined,
    min: 1,
    max: 8,
    isFixedByUser: false,
    measured: Object.entries(measured).map(([workers, samplesPerSecond]) => ({
      workers: Number(workers),
      samplesPerSecond,
    })),
    ...more,
  };
}

const cases: Record<string, { readonly job: JobSpeed; readonly want: number | string }> = {
  "nothing measured, nothing said": { job: jobOf({}), want: "nothing has been measured yet" },
  "a number fixed by a user stays": {
    job: jobOf({ 2: 100 }, { isFixedByUser: true }),
    want: "a user has fixed the number of workers",
  },
  "within the freeze window nothing is said": {
    job: jobOf({ 2: 100 }, { changedAtMs: 95_000 }),
    want: "the number of workers has just changed",
  },
  "one count measured: explored up to its double": { job: jobOf({ 2: 200 }), want: 4 },
  "perfect scaling takes all": {
    job: jobOf({ 1: 100, 2: 200, 4: 400 }, { workersWanted: 4 }),
    want: 8,
  },
  "no gain from a second worker: the minimum": { job: jobOf({ 1: 100, 2: 100, 4: 100 }), want: 1 },
  "a gain that fades ends the growth": { job: jobOf({ 1: 100, 2: 150, 4: 200 }), want: 4 },
  "more workers that slow it down are given up": { job: jobOf({ 1: 100, 2: 120, 4: 80 }), want: 2 },
  "the minimum holds": { job: jobOf({ 3: 100, 4: 100, 6: 90 }, { min: 3 }), want: 3 },
};

for (const [name, { job, want }] of Object.entries(cases)) {
  test(name, () => {
    const decision = decideWorkers(job, policy);
    deepEqual(decision.kind === "want" ? decision.workersWanted : decision.reason, want);
  });
}

test("what it already has is not asked for again", () => {
  deepEqual(
    decideWorkers(jobOf({ 1: 100, 2: 100, 4: 100 }, { workersWanted: 1 }), policy).kind,
    "keep",
  );
});

test("the reason has the numbers that argue for it", () => {
  const decision = decideWorkers(jobOf({ 1: 100, 2: 150, 4: 200 }), policy);
  ok(
    decision.kind === "want" && /1: 100\/s, 2: 150\/s, 4: 200\/s/.test(decision.reason),
    decision.reason,
  );
});

test("a curve of the model's own form is found again", () => {
  fc.assert(
    fc.property(
      fc.double({ min: 0.001, max: 1, noNaN: true }),
      fc.double({ min: 0, max: 0.1, noNaN: true }),
      fc.double({ min: 0, max: 0.05, noNaN: true }),
      (a, b, c) => {
        const measured = [1, 2, 4, 8].map((workers) => ({
          workers,
          samplesPerSecond: speedAt({ a, b, c }, workers),
        }));
        const fitted = fitSpeed(measured);
        for (const { workers, samplesPerSecond } of measured)
          ok(Math.abs(speedAt(fitted, workers) / samplesPerSecond - 1) < 0.05);
      },
    ),
  );
});

test("the wanted number is within the limits, and wanting it again changes nothing", () => {
  const speeds = fc.dictionary(
    fc.integer({ min: 1, max: 8 }).map(String),
    fc.double({ min: 1, max: 1e5, noNaN: true }),
    { minKeys: 1, maxKeys: 5 },
  );
  fc.assert(
    fc.property(
      speeds,
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 0, max: 8 }),
      (measured, min, extra) => {
        const job = jobOf(measured as Record<number, number>, { min, max: min + extra });
        const decision = decideWorkers(job, policy);
        if (decision.kind === "keep") return;
        ok(decision.workersWanted >= min && decision.workersWanted <= min + extra);
        deepEqual(
          decideWorkers({ ...job, workersWanted: decision.workersWanted }, policy).kind,
          "keep",
        );
      },
    ),
  );
});
