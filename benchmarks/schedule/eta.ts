/**
 * `npm run bench -- schedule eta`: how good the forecast of `explain` is, in the simulator.
 *
 * Random clusters and jobs; speed grows with the power 0.7 to 1 of the workers, which the forecast
 * does not know, and each job's measured pace is off by some percent. At several moments the forecast
 * for each job is compared with what then happens, jobs that arrive later included; and its interval,
 * as wide as the paces alone make it, calibrated by the scores of other worlds, and by its own too.
 */
import { isEnded, type Job } from "@coxswain/domain";
import { decidePlacement, type NodeView, type Snapshot } from "@coxswain/scheduling";
import {
  Calibration,
  coverage,
  type ForecastKind,
  forecastKinds,
  forecastOf,
  type Interval,
  kindOf,
  measuredCosts,
  type Outcome,
  queuedJob,
  type Scenario,
  type SimulatedJob,
  scoreOf,
  simulate,
} from "@coxswain/sim";
import { median, percentile, rounded, seeded } from "../lib/numbers.ts";
import { readOptions } from "../lib/options.ts";
import { printLastLine, printTable } from "../lib/report.ts";

const options = readOptions("schedule eta", "How good the forecasts of `cox explain` are.", {
  worlds: { value: "40", text: "random clusters, 12 jobs each" },
  prior: { text: "measures the scores that libs/sim/src/prior-scores.ts holds" },
});
const worlds = options.quick ? 5 : options.count("worlds");
/** Worlds of the prior are none of those that are judged. */
const priorSeed = 10_001;
const priorScoresCount = 40;
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

interface Forecast {
  readonly kind: ForecastKind;
  readonly nowMs: number;
  readonly raw: Interval;
  readonly actualMs: number;
}

const timeOf = (outcome: Outcome, kind: "trains" | "ended", jobId: string, afterMs: number) =>
  outcome.timeline.find(
    (entry) => entry.kind === kind && entry.jobId === jobId && entry.atMs >= afterMs,
  )?.atMs;

/** Forecasts at some moments of a world's life, in order, with what came. */
function forecastsOf(seed: number): Forecast[] {
  const world = worldOf(seed);
  const random = seeded(1000 + seed);
  const truth = simulate(world.scenario);
  const found: Forecast[] = [];
  for (let moment = 1; moment <= moments; moment += 1) {
    const nowMs = Math.round((truth.endedAtMs * moment) / (moments + 2));
    const now = simulate({ ...world.scenario, untilMs: nowMs });
    const jobs = [...now.jobs.values()].map((job) =>
      measured(job, now.unitsDone.get(job.id) ?? 0, world, nowMs, 0.95 + 0.1 * random()),
    );
    const nodes = world.scenario.nodes.map(({ node }) => node);
    const snapshot: Snapshot = { nowMs, jobs, nodes };
    const add = (kind: ForecastKind, raw: Interval | null, actualMs: number | undefined) => {
      if (raw !== null && actualMs !== undefined && actualMs > nowMs)
        found.push({ kind, nowMs, raw, actualMs });
    };
    for (const job of jobs.filter((one) => !isEnded(one))) {
      const { starts, ends } = forecastOf(snapshot, job.id);
      add(kindOf("end", job), ends, timeOf(truth, "ended", job.id, nowMs));
      if (job.placement.length === 0)
        add(kindOf("start", job), starts, timeOf(truth, "trains", job.id, nowMs));
    }
  }
  return found;
}

const seedsFrom = (first: number) => Array.from({ length: worlds }, (_, index) => first + index);

function printPrior(): void {
  const forecasts = seedsFrom(priorSeed).flatMap(forecastsOf);
  const scores = forecasts.map(({ kind, raw, nowMs, actualMs }) => ({
    kind,
    ...scoreOf(raw, nowMs, actualMs),
  }));
  const quantiles = (kind: ForecastKind, end: "early" | "late") => {
    const sorted = scores.filter((one) => one.kind === kind).map((one) => one[end]);
    return Array.from({ length: priorScoresCount }, (_, index) =>
      rounded(percentile(sorted, (index + 0.5) / priorScoresCount)),
    );
  };
  const prior = Object.fromEntries(
    forecastKinds.map((kind) => [
      kind,
      { early: quantiles(kind, "early"), late: quantiles(kind, "late") },
    ]),
  );
  printLastLine({ benchmark: "schedule eta", worlds, forecasts: forecasts.length, prior });
}

const isInside = ({ earliestMs, latestMs }: Interval, actualMs: number) =>
  earliestMs <= actualMs && actualMs <= latestMs;

interface Row {
  readonly kind: ForecastKind;
  readonly relativeError: number;
  /** Whether the truth is inside: of the paces alone, of the calibrated interval, of one that learns. */
  readonly raw: boolean;
  readonly prior: boolean;
  readonly learning: boolean;
  /** Length of the calibrated interval over the time that was left. */
  readonly width: number;
}

/** In each world the calibration begins anew, and learns of each forecast once its time has come. */
function rowsOf(seed: number): Row[] {
  const [fixed, learning] = [new Calibration(), new Calibration()];
  let open: Forecast[] = [];
  return forecastsOf(seed).map((forecast) => {
    const { kind, raw, nowMs, actualMs } = forecast;
    for (const one of open.filter((past) => past.actualMs <= nowMs))
      learning.note(one.kind, scoreOf(one.raw, one.nowMs, one.actualMs));
    open = [...open.filter((past) => past.actualMs > nowMs), forecast];
    const prior = fixed.calibrated(kind, raw, nowMs);
    return {
      kind,
      relativeError: Math.abs(raw.expectedMs - actualMs) / (actualMs - nowMs),
      raw: isInside(raw, actualMs),
      prior: isInside(prior, actualMs),
      learning: isInside(learning.calibrated(kind, raw, nowMs), actualMs),
      width: (prior.latestMs - prior.earliestMs) / (actualMs - nowMs),
    };
  });
}

function summaryOf(name: string, rows: readonly Row[]) {
  const share = (key: "raw" | "prior" | "learning") =>
    rounded(rows.filter((row) => row[key]).length / rows.length);
  const errors = rows.map(({ relativeError }) => relativeError);
  return {
    name,
    forecasts: rows.length,
    medianRelativeError: rounded(median(errors)),
    p90RelativeError: rounded(percentile(errors, 0.9)),
    coverageOfPaces: share("raw"),
    coverage: share("prior"),
    coverageLearning: share("learning"),
    medianWidth: rounded(median(rows.map(({ width }) => width))),
  };
}

function printCoverage(): void {
  const rows = seedsFrom(1).flatMap(rowsOf);
  const summaries = [
    ...forecastKinds.map((kind) =>
      summaryOf(
        kind,
        rows.filter((row) => row.kind === kind),
      ),
    ),
    summaryOf("all", rows),
  ];
  printTable(
    [
      "FORECAST OF",
      "FORECASTS",
      "MEDIAN ERROR",
      "P90",
      "INSIDE: PACES",
      "CALIBRATED",
      "LEARNING",
      "MEDIAN WIDTH",
    ],
    summaries.map((row) => Object.values(row).map((cell) => cell ?? "-")),
  );
  printLastLine({
    benchmark: "schedule eta",
    worlds,
    jobsPerWorld,
    promised: coverage,
    rows: summaries,
    medianRelativeError: summaries.at(-1)!.medianRelativeError,
    intervalCoverage: summaries.at(-1)!.coverage,
  });
}

if (options.has("prior")) printPrior();
else printCoverage();
