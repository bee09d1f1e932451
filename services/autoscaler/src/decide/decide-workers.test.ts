import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decideWorkers, type JobSpeed } from "./decide-workers.ts";
import { fitSpeed, speedAt } from "./speed-model.ts";

const policy = { freezeMs: 10_000, gainMin: 0.15 };

/** One job alone, with room for all that it may have. */
const decide = (job: JobSpeed) => decideWorkers([job], 64, policy)[0]!;

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
    batchSize: 64,
    shards: 8,
    stepsLeft: 10_000,
    moveSeconds: 0.1,
    noise: undefined,
    measured: Object.entries(measured).map(([workers, samplesPerSecond]) => ({
      workers: Number(workers),
      nodes: 1,
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
    const decision = decide(job);
    deepEqual(decision.kind === "want" ? decision.workersWanted : decision.reason, want);
  });
}

test("what it already has is not asked for again", () => {
  deepEqual(decide(jobOf({ 1: 100, 2: 100, 4: 100 }, { workersWanted: 1 })).kind, "keep");
});

test("the reason has the numbers that argue for it", () => {
  const decision = decide(jobOf({ 1: 100, 2: 150, 4: 200 }));
  ok(
    decision.kind === "want" && /1: 100\/s, 2: 150\/s, 4: 200\/s/.test(decision.reason),
    decision.reason,
  );
});

test("where a step waits for the busiest worker's shards, counts in between bring nothing", () => {
  const measured = [1, 2, 4].map((workers) => ({
    workers,
    nodes: 1,
    samplesPerSecond: 100 * workers,
  }));
  const speed = fitSpeed({ batchSize: 64, shards: 8 }, measured);
  const ofFour = speedAt(speed, 4);
  for (const workers of [5, 6, 7]) ok(speedAt(speed, workers) <= ofFour * 1.01);
  ok(speedAt(speed, 8) > ofFour * 1.5);
});

test("where the room does not last for all, it goes where it brings most", () => {
  const scales = { 1: 100, 2: 200, 4: 400 };
  const barely = { 1: 100, 2: 130, 4: 160 };
  const jobs = [jobOf(scales, { workersNow: 4 }), jobOf(barely, { workersNow: 4 })];
  const wanted = decideWorkers(jobs, 8, policy).map((decision) =>
    decision.kind === "want" ? decision.workersWanted : decision.reason,
  );
  ok(Number(wanted[0]) > Number(wanted[1]), `${wanted}`);
  ok(Number(wanted[0]) + Number(wanted[1]) <= 8, `${wanted}`);
});

test("of two jobs that are equally fast, the one whose batch is worth its samples gets more", () => {
  const scales = { 1: 100, 2: 180, 4: 300 };
  const job = (noise: JobSpeed["noise"]) => jobOf(scales, { workersNow: 3, noise });
  // No noise: eight shards tell what one would. Nothing but noise: each tells as much as another.
  const [wasteful, useful] = decideWorkers(
    [job({ squaredNorm: 1, variance: 0 }), job({ squaredNorm: 0, variance: 1 })],
    6,
    policy,
  );
  ok(wasteful?.kind === "want" && useful?.kind === "want");
  ok(wasteful.workersWanted < useful.workersWanted);
  deepEqual([wasteful.efficiency, wasteful.noiseScale], [0.125, 0]);
  deepEqual([useful.efficiency, useful.noiseScale], [1, undefined]);
  deepEqual(wasteful.curve[0], {
    workers: 1,
    samplesPerSecond: 100,
    measured: true,
    goodput: 12.5,
  });
});

test("a job that is not judged keeps its room", () => {
  const jobs = [jobOf({ 1: 100, 2: 200, 4: 400 }), jobOf({}, { workersNow: 6 })];
  const [first] = decideWorkers(jobs, 8, policy);
  deepEqual(first?.kind === "want" && first.workersWanted, 2);
});

test("what is asked for comes with what it shall bring", () => {
  const decision = decide(jobOf({ 1: 100, 2: 150, 4: 200 }, { workersWanted: 2 }));
  ok(decision.kind === "want" && Math.abs(decision.expectedSamplesPerSecond - 200) < 10);
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
        const decision = decide(job);
        if (decision.kind === "keep") return;
        ok(decision.workersWanted >= min && decision.workersWanted <= min + extra);
        deepEqual(decide({ ...job, workersWanted: decision.workersWanted }).kind, "keep");
      },
    ),
  );
});
