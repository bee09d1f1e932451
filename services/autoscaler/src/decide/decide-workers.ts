/**
 * How many workers each running job should have, judged from its measured speed.
 *
 * A job grows as long as further workers bring at least `gainMin` of the first one's speed each, to
 * at most twice as many as it was measured with, so that the curve is explored carefully. Where the
 * room does not last for all, it is divided so that the sum of what the jobs make of it is largest:
 * `divideWorkers` and `choicesOf` of libs/goodput, the policy that the published traces judge. What
 * a job makes of workers is goodput, speed times the statistical efficiency of its batch: a batch far
 * beyond the noise scale of its gradient trains samples that bring little.
 * Nothing is asked within the freeze window after a change, nor for a job whose number a user has
 * fixed; such a job keeps the room that it has. The batch is another decision: `decide-batch.ts`.
 */
import {
  type AllocationPolicy,
  type Choice,
  choicesOf,
  defaultPolicy,
  divideWorkers,
  efficiencyOf,
  type GradientNoise,
  noiseScaleOf,
  workersReach,
} from "@coxswain/goodput";
import { type Batch, fitSpeed, type Measured, type SpeedModel, speedAt } from "./speed-model.ts";

/** A move is cheap here, so a curve is explored by doubling. */
const liveReach = 2;

export interface JobSpeed extends Batch {
  readonly jobId: string;
  readonly nowMs: number;
  /** When the number of workers last changed. */
  readonly changedAtMs: number;
  readonly workersNow: number;
  readonly workersWanted: number | undefined;
  readonly min: number;
  readonly max: number;
  readonly isFixedByUser: boolean;
  readonly measured: readonly Measured[];
  readonly stepsLeft: number;
  /** What a change of its workers was measured to cost. */
  readonly moveSeconds: number;
  /** Of the whole batch's gradient; undefined until it was measured. */
  readonly noise: GradientNoise | undefined;
}

export interface Policy {
  readonly freezeMs: number;
  readonly gainMin: number;
}

export interface CurvePoint {
  readonly workers: number;
  readonly samplesPerSecond: number;
  readonly measured: boolean;
  /** Samples per second times efficiency; absent until the noise was measured. */
  readonly goodput?: number;
}

export type WorkersDecision =
  | { readonly kind: "keep"; readonly reason: string }
  | {
      readonly kind: "want";
      readonly workersWanted: number;
      readonly reason: string;
      readonly curve: readonly CurvePoint[];
      readonly marginalGain: number;
      /** What the number that is asked for shall bring. */
      readonly expectedSamplesPerSecond: number;
      readonly efficiency?: number;
      readonly noiseScale?: number;
    };

/**
 * @param room workers that the nodes hold
 * @returns one decision for each job, in the same order
 */
export function decideWorkers(
  jobs: readonly JobSpeed[],
  room: number,
  policy: Policy,
  allocation: AllocationPolicy = defaultPolicy,
): readonly WorkersDecision[] {
  const weighed = jobs.map((job) => weigh(job, policy));
  const choices = weighed.map((one) => choicesFor(one, allocation));
  const present = jobs.reduce((sum, { workersNow }) => sum + workersNow, 0);
  const counts = divideWorkers(choices, Math.max(room, present));
  return weighed.map((one, index) => {
    if (one.kind === "hold") return { kind: "keep", reason: one.reason };
    if (counts === undefined) return { kind: "keep", reason: "there is no room for all minimums" };
    return decisionOf(one, counts[index]!, policy);
  });
}

type Weighed =
  | { readonly kind: "hold"; readonly job: JobSpeed; readonly reason: string }
  | {
      readonly kind: "weigh";
      readonly job: JobSpeed;
      readonly speed: SpeedModel;
      /** More would not pay, or may not be tried yet. */
      readonly most: number;
    };

function weigh(job: JobSpeed, policy: Policy): Weighed {
  const hold = (reason: string): Weighed => ({ kind: "hold", job, reason });
  if (job.isFixedByUser) return hold("a user has fixed the number of workers");
  if (job.measured.length === 0) return hold("nothing has been measured yet");
  if (job.nowMs - job.changedAtMs < policy.freezeMs)
    return hold("the number of workers has just changed");
  const speed = fitSpeed(job, job.measured);
  const tried = Math.max(...job.measured.map(({ workers }) => workers));
  const reach = Math.max(job.min, Math.min(job.max, workersReach(tried, liveReach)));
  return { kind: "weigh", job, speed, most: paysUpTo(speed, job.min, reach, policy.gainMin) };
}

/** The largest count up to which the further workers bring `gainMin` each, on average over a jump. */
function paysUpTo(speed: SpeedModel, min: number, reach: number, gainMin: number): number {
  let most = min;
  for (let workers = min + 1; workers <= reach; workers += 1)
    if (gainBetween(speed, most, workers) >= gainMin) most = workers;
  return most;
}

/** What each worker beyond `from` brings, as a part of the first one's speed. */
function gainBetween(speed: SpeedModel, from: number, to: number): number {
  return (speedAt(speed, to) - speedAt(speed, from)) / (to - from) / speedAt(speed, 1);
}

function choicesFor(one: Weighed, allocation: AllocationPolicy): readonly Choice[] {
  const { job } = one;
  if (one.kind === "hold") return [{ workers: job.workersNow, worth: 0 }];
  const { speed, most } = one;
  const demand = {
    workersMin: job.min,
    workersMax: most,
    present: new Array<number>(job.workersNow).fill(0),
    goodput: ({ workers }: { readonly workers: number }) => speedAt(speed, workers) / job.batchSize,
    stepsLeft: Math.max(1, job.stepsLeft),
    moveSeconds: job.moveSeconds,
    efficiency: efficiencyFor(job) ?? 1,
  };
  return choicesOf(demand, { total: most, perNode: most }, allocation);
}

/** Of the job's batch against batches of one shard, which is as small as its work is cut. */
function efficiencyFor({ noise, shards }: JobSpeed): number | undefined {
  return noise && efficiencyOf(noise, shards);
}

function statisticsOf(job: JobSpeed): {
  readonly efficiency?: number;
  readonly noiseScale?: number;
} {
  const efficiency = efficiencyFor(job);
  if (efficiency === undefined) return {};
  const noiseScale = noiseScaleOf(job.noise!, job.batchSize);
  return {
    efficiency: round(efficiency),
    ...(Number.isFinite(noiseScale) ? { noiseScale: round(noiseScale) } : {}),
  };
}

function decisionOf(
  { job, speed }: Extract<Weighed, { kind: "weigh" }>,
  workersWanted: number,
  policy: Policy,
): WorkersDecision {
  const marginalGain = round(
    workersWanted > 1 ? gainBetween(speed, workersWanted - 1, workersWanted) : 1,
  );
  const measured = measuredNow(job)
    .map(({ workers, samplesPerSecond }) => `${workers}: ${Math.round(samplesPerSecond)}/s`)
    .join(", ");
  const expectedSamplesPerSecond = round(speedAt(speed, workersWanted));
  const statistics = statisticsOf(job);
  const worth =
    statistics.efficiency === undefined
      ? ""
      : `; a sample brings ${percent(statistics.efficiency)} of what it would in a batch of one shard`;
  const reason = `measured at ${measured}; ${workersWanted} shall bring ${Math.round(expectedSamplesPerSecond)}/s${worth}; a further worker must add ${percent(policy.gainMin)} of the first one's speed, and a move costs ${round(job.moveSeconds)} s`;
  if (workersWanted === (job.workersWanted ?? job.max)) return { kind: "keep", reason };
  const curve = curveOf(job, speed);
  const expected = { marginalGain, expectedSamplesPerSecond, ...statistics };
  return { kind: "want", workersWanted, reason, curve, ...expected };
}

function curveOf(job: JobSpeed, speed: SpeedModel): CurvePoint[] {
  const efficiency = efficiencyFor(job);
  return Array.from({ length: job.max - job.min + 1 }, (_, index) => {
    const workers = job.min + index;
    const measured = measuredNow(job).find((point) => point.workers === workers);
    const samplesPerSecond = measured?.samplesPerSecond ?? speedAt(speed, workers);
    return {
      workers,
      samplesPerSecond: round(samplesPerSecond),
      measured: measured !== undefined,
      ...(efficiency === undefined ? {} : { goodput: round(samplesPerSecond * efficiency) }),
    };
  });
}

/** With the batch that it has now. */
function measuredNow({
  measured,
  batchSize,
  updateSize = batchSize,
}: JobSpeed): readonly Measured[] {
  return measured.filter((point) => (point.updateSize ?? batchSize) === updateSize);
}

const round = (value: number) => Math.round(value * 1000) / 1000;
const percent = (part: number) => `${Math.round(part * 100)} %`;
