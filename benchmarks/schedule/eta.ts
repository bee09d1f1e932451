/**
 * `npm run bench -- schedule eta`: how good the forecast of `explain` is, in the simulator.
 *
 * Random clusters and jobs; speed grows with the power 0.7 to 1 of the workers, which the forecast
 * does not know, and each job's measured pace is off by some percent. At several moments the forecast
 * for each job is compared with what then happens, jobs that arrive later included.
 */
import { isEnded, type Job } from "@coxswain/domain";
import { decidePlacement, type NodeView, type Snapshot } from "@coxswain/scheduling";
import {
  forecastOf,
  type Interval,
  measuredCosts,
  type Outcome,
  queuedJob,
  type Scenario,
  type SimulatedJob,
  simulate,
} from "@coxswain/sim";
import { median, percentile, rounded, seeded } from "../lib/numbers.ts";
import { printLastLine, printTable } from "../lib/report.ts";

const worlds = 20;
const jobsPerWorld = 12;
const moments = 5;
const lookEveryMs = 10_000;
const horizonMs = 30 * 24 * 3600 * 1000;
const engine = { name: "wasm", identity: "wasm" };

interface World {
  readonly scenario: Scenario;
  readonly speedOf: ReadonlyMap<string, (workers: number) => number>;
}

function worldOf(seed: number): World {
  const random = seeded(seed);
  const between = (least: number, most: number) => least + (most - least) * random();
  const speedOf = new Map<string, (workers: number) => number>();
  const nodes = Array.from({ length: 2 }, (_, index): { node: NodeView } => ({
    node: {
      nodeId: `n${index}`,
      capacity: { cpu: 4, memoryMib: 65_536, gpu: 0 },
      engines: [engine],
      isAlive: true,
    },
  }));
  let atMs = 0;
  const jobs = Array.from({ length: jobsPerWorld }, (_, index): SimulatedJob => {
    atMs += Math.round(-Math.log(1 - random()) * 90_000);
    const [pace, power] = [between(1, 4), between(0.7, 1)];
    const unitsPerSecond = (workers: number) => pace * workers ** power;
    const min = 1 + Math.floor(between(0, 4));
    const id = `j${index}`;
    speedOf.set(id, unitsPerSecond);
    const steps = Math.round(between(300, 4000));
    const spec = {
      workers: { min, max: min + Math.floor(between(0, 5)) },
      steps,
      priority: Math.floor(between(0, 3)),
    };
    return {
      job: queuedJob({ id, atMs, sequence: index + 1, spec }),
      arrivesAtMs: atMs,
      work: { units: steps, unitsPerSecond },
    };
  });
  const scenario = {
    ...{ nodes, jobs, costs: measuredCosts, seed, untilMs: horizonMs, lookEveryMs },
    decide: decidePlacement,
  };
  return { scenario, speedOf };
}

/** A job as the log would show it: progress as workers measure it, some percent off. */
function measured(job: Job, unitsDone: number, world: World, nowMs: number, off: number): Job {
  if (job.members.length === 0 || isEnded(job)) return job;
  const rate = world.speedOf.get(job.id)!(job.members.length) * off;
  const progress = {
    ...{ step: Math.floor(unitsDone), steps: job.spec.steps!, epoch: 0, metrics: {} },
    ...{ samplesPerSecond: rate * job.spec.batchSize, stepMs: 1000 / rate, atMs: nowMs },
  };
  return { ...job, progress };
}

interface Score {
  readonly relativeError: number;
  readonly isInside: boolean;
}

function score(interval: Interval | null, actualMs: number | undefined, nowMs: number): Score[] {
  if (interval === null || actualMs === undefined || actualMs <= nowMs) return [];
  return [
    {
      relativeError: Math.abs(interval.expectedMs - actualMs) / (actualMs - nowMs),
      isInside: interval.earliestMs <= actualMs && actualMs <= interval.latestMs,
    },
  ];
}

const timeOf = (outcome: Outcome, kind: "trains" | "ended", jobId: string, afterMs: number) =>
  outcome.timeline.find(
    (entry) => entry.kind === kind && entry.jobId === jobId && entry.atMs >= afterMs,
  )?.atMs;

const ends: Score[] = [];
const starts: Score[] = [];
for (let seed = 1; seed <= worlds; seed += 1) {
  const world = worldOf(seed);
  const random = seeded(1000 + seed);
  const truth = simulate(world.scenario);
  for (let moment = 1; moment <= moments; moment += 1) {
    const nowMs = Math.round((truth.endedAtMs * moment) / (moments + 2));
    const now = simulate({ ...world.scenario, untilMs: nowMs });
    const jobs = [...now.jobs.values()].map((job) =>
      measured(job, now.unitsDone.get(job.id) ?? 0, world, nowMs, 0.95 + 0.1 * random()),
    );
    const nodes = world.scenario.nodes.map(({ node }) => node);
    const snapshot: Snapshot = { nowMs, jobs, nodes };
    for (const job of jobs.filter((one) => !isEnded(one))) {
      const forecast = forecastOf(snapshot, job.id);
      ends.push(...score(forecast.ends, timeOf(truth, "ended", job.id, nowMs), nowMs));
      if (job.placement.length === 0)
        starts.push(...score(forecast.starts, timeOf(truth, "trains", job.id, nowMs), nowMs));
    }
  }
}

const rowOf = (name: string, scores: readonly Score[]) => {
  const errors = scores.map(({ relativeError }) => relativeError);
  const inside = scores.filter(({ isInside }) => isInside).length / scores.length;
  return {
    name,
    forecasts: scores.length,
    medianRelativeError: rounded(median(errors)),
    p90RelativeError: rounded(percentile(errors, 0.9)),
    coverage: rounded(inside),
  };
};
const rows = [rowOf("end", ends), rowOf("start", starts)];
printTable(
  ["FORECAST OF", "FORECASTS", "MEDIAN RELATIVE ERROR", "P90", "INSIDE THE INTERVAL"],
  rows.map((row) => [
    row.name,
    row.forecasts,
    row.medianRelativeError ?? "-",
    row.p90RelativeError ?? "-",
    row.coverage ?? "-",
  ]),
);
printLastLine({ benchmark: "schedule eta", worlds, jobsPerWorld, rows });
