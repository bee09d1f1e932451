/**
 * When jobs will start and end, by the real decisions in virtual time.
 *
 * The work of a job that has trained is what is left of its steps at its measured pace; a job with so
 * many workers more or less is taken to be faster or slower in proportion. A job that never trained
 * gets the median pace per worker of those that did; without any there is no forecast. The interval
 * is the forecast with every pace a quarter higher and a quarter lower; what it promises once it is
 * calibrated stands in `calibration.ts`.
 */
import { isEnded, type Job } from "@coxswain/domain";
import { decidePlacement, type Snapshot } from "@coxswain/scheduling";
import { measuredCosts, type SimulatedJob } from "./scenario.ts";
import { simulate } from "./simulate.ts";

export interface JobForecast {
  readonly startsAtMs: number | undefined;
  readonly endsAtMs: number | undefined;
}

export interface Interval {
  readonly expectedMs: number;
  readonly earliestMs: number;
  readonly latestMs: number;
}

const horizonMs = 7 * 24 * 3600 * 1000;
/** More jobs than this take too long to simulate within a request. */
export const forecastJobsMax = 200;
const spread = 1.25;
const freezeLookMs = 10_000;

/** Steps per second and worker. */
function paceOf(job: Job): number | undefined {
  const { progress, members } = job;
  if (progress === undefined || progress.stepMs <= 0) return undefined;
  return 1000 / progress.stepMs / Math.max(1, members.length);
}

function medianPace(jobs: readonly Job[]): number | undefined {
  const paces = jobs.map(paceOf).filter((pace) => pace !== undefined);
  return paces.sort((a, b) => a - b)[Math.floor(paces.length / 2)];
}

/** By job; undefined when nothing was measured yet, or there are too many jobs. */
export function forecast(
  snapshot: Snapshot,
  factor = 1,
): ReadonlyMap<string, JobForecast> | undefined {
  const active = snapshot.jobs.filter((job) => !isEnded(job));
  const usual = medianPace(snapshot.jobs);
  if (usual === undefined || active.length > forecastJobsMax) return undefined;
  const jobs = active.map((job): SimulatedJob => {
    const pace = (paceOf(job) ?? usual) * factor;
    const units = job.progress?.steps ?? job.spec.steps ?? 0;
    // What was done since the last report counts too.
    const { progress } = job;
    const sinceMs = job.members.length > 0 ? snapshot.nowMs - (progress?.atMs ?? 0) : 0;
    const sinceReport = progress === undefined ? 0 : Math.max(0, sinceMs) / progress.stepMs;
    const work = {
      units: units > 0 ? units : Number.POSITIVE_INFINITY,
      unitsDone: Math.min(units, (progress?.step ?? 0) + sinceReport),
      unitsPerSecond: (workers: number) => pace * workers,
    };
    return { job, arrivesAtMs: snapshot.nowMs, work };
  });
  const { nowMs: _, jobs: __, nodes, ...tenants } = snapshot;
  const outcome = simulate({
    nodes: nodes.filter(({ isAlive }) => isAlive).map((node) => ({ node })),
    jobs,
    costs: measuredCosts,
    seed: 1,
    beginMs: snapshot.nowMs,
    untilMs: snapshot.nowMs + horizonMs,
    lookEveryMs: freezeLookMs,
    decide: (look) => decidePlacement({ ...tenants, ...look }),
  });
  const found = new Map<string, JobForecast>();
  for (const { job } of jobs) {
    const own = outcome.timeline.filter((entry) => "jobId" in entry && entry.jobId === job.id);
    found.set(job.id, {
      startsAtMs:
        job.placement.length > 0 ? undefined : own.find(({ kind }) => kind === "trains")?.atMs,
      endsAtMs: own.find(({ kind }) => kind === "ended")?.atMs,
    });
  }
  return found;
}

/** Start and end of one job with their intervals. */
export function forecastOf(
  snapshot: Snapshot,
  jobId: string,
): { readonly starts: Interval | null; readonly ends: Interval | null } {
  const [slow, usual, fast] = [1 / spread, 1, spread].map((factor) =>
    forecast(snapshot, factor)?.get(jobId),
  );
  const interval = (name: keyof JobForecast): Interval | null => {
    const times = [slow, usual, fast].map((one) => one?.[name]);
    if (times.some((one) => one === undefined)) return null;
    const [a, expectedMs, b] = times as [number, number, number];
    return {
      expectedMs,
      earliestMs: Math.min(a, expectedMs, b),
      latestMs: Math.max(a, expectedMs, b),
    };
  };
  return { starts: interval("startsAtMs"), ends: interval("endsAtMs") };
}
