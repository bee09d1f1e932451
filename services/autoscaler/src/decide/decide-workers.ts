/**
 * How many workers a job should have, judged from its measured speed.
 *
 * The number grows while one more worker brings at least `gainMin` of what the first one does. A
 * count that was never measured is trusted only one step (a doubling) beyond the measured ones, so
 * that the curve is explored carefully. Nothing is asked within the freeze window after a change,
 * nor for a job whose number a user has fixed.
 */
import { fitSpeed, type Measured, speedAt } from "./speed-curve.ts";

export interface JobSpeed {
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
}

export interface Policy {
  readonly freezeMs: number;
  readonly gainMin: number;
}

export interface CurvePoint {
  readonly workers: number;
  readonly samplesPerSecond: number;
  readonly measured: boolean;
}

export type WorkersDecision =
  | { readonly kind: "keep"; readonly reason: string }
  | {
      readonly kind: "want";
      readonly workersWanted: number;
      readonly reason: string;
      readonly curve: readonly CurvePoint[];
      readonly marginalGain: number;
    };

export function decideWorkers(job: JobSpeed, policy: Policy): WorkersDecision {
  if (job.isFixedByUser) return keep("a user has fixed the number of workers");
  if (job.measured.length === 0) return keep("nothing has been measured yet");
  if (job.nowMs - job.changedAtMs < policy.freezeMs)
    return keep("the number of workers has just changed");
  const fitted = fitSpeed(job.measured);
  const first = speedAt(fitted, 1);
  const reach = Math.max(...job.measured.map(({ workers }) => workers)) * 2;
  const gain = (workers: number) =>
    (speedAt(fitted, workers) - speedAt(fitted, workers - 1)) / first;
  let wanted = job.min;
  while (wanted < Math.min(job.max, reach) && gain(wanted + 1) >= policy.gainMin) wanted += 1;
  const present = job.workersWanted ?? job.max;
  const marginalGain = round(wanted > 1 ? gain(wanted) : 1);
  const curve = curveOf(job, (workers) => speedAt(fitted, workers));
  const next =
    wanted < job.max ? `, one more than ${wanted} would add ${percent(gain(wanted + 1))}` : "";
  const reason = `measured at ${job.measured.map(({ workers, samplesPerSecond }) => `${workers}: ${Math.round(samplesPerSecond)}/s`).join(", ")}; worker ${wanted} adds ${percent(marginalGain)} of the first one's speed${next}; at least ${percent(policy.gainMin)} is asked for`;
  if (wanted === present) return keep(reason);
  return { kind: "want", workersWanted: wanted, reason, curve, marginalGain };
}

function keep(reason: string): WorkersDecision {
  return { kind: "keep", reason };
}

function curveOf(job: JobSpeed, predicted: (workers: number) => number): CurvePoint[] {
  return Array.from({ length: job.max - job.min + 1 }, (_, index) => {
    const workers = job.min + index;
    const measured = job.measured.find((point) => point.workers === workers);
    return {
      workers,
      samplesPerSecond: round(measured?.samplesPerSecond ?? predicted(workers)),
      measured: measured !== undefined,
    };
  });
}

const round = (value: number) => Math.round(value * 1000) / 1000;
const percent = (part: number) => `${Math.round(part * 100)} %`;
