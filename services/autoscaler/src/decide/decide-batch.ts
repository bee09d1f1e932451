/**
 * Which batch a job should be trained with, judged from its measured speed and its gradient's noise.
 *
 *   goodput(k) = gain(k) / seconds(k)       updates of k times the job's batch
 *
 * gain(k), from 1 to k, is what such an update is worth in updates of the job's own batch (Pollux,
 * OSDI'21; libs/goodput); an update saves k - 1 exchanges. Tried are powers of two up to what the job
 * allows, and no further than twice the present batch, since its speed is a guess beyond what was
 * measured. What is chosen must bring `gainMin` more than what is there: a change is for good, as far
 * as the bits are concerned. How the learning rate follows is the job's own rule; what comes out is
 * recorded with the decision, so that nothing depends on when it was measured.
 */
import type { LearningRateScaling } from "@coxswain/domain";
import { type GradientNoise, gainOf, noiseScaleOf } from "@coxswain/goodput";
import { fitSpeed, type Measured, speedAt } from "./speed-model.ts";

export interface JobBatch {
  readonly nowMs: number;
  /** When workers or batch last changed. */
  readonly changedAtMs: number;
  readonly workers: number;
  readonly batchSize: number;
  readonly shards: number;
  /** In force; whether another one is asked for and not there yet. */
  readonly present: number;
  readonly isUnderWay: boolean;
  /** What the job allows; undefined: its batch stays as it is. */
  readonly adaptive:
    | { readonly maxBatchSize: number; readonly learningRateScaling: LearningRateScaling }
    | undefined;
  readonly measured: readonly Measured[];
  readonly noise: GradientNoise | undefined;
  readonly stepsLeft: number;
}

export interface BatchPolicy {
  readonly freezeMs: number;
  /** In parts of the present goodput. */
  readonly batchGainMin: number;
}

export interface BatchPoint {
  readonly batchSize: number;
  readonly samplesPerSecond: number;
  /** Updates of the job's own batch that a second is worth. */
  readonly goodput: number;
}

export type BatchDecision =
  | { readonly kind: "keep"; readonly reason: string }
  | {
      readonly kind: "want";
      readonly batchSize: number;
      readonly learningRateFactor: number;
      readonly reason: string;
      readonly curve: readonly BatchPoint[];
      readonly noiseScale?: number;
    };

/** With fewer updates left a change is not worth its while. */
const updatesMin = 100;

export function decideBatch(job: JobBatch, policy: BatchPolicy): BatchDecision {
  const keep = (reason: string): BatchDecision => ({ kind: "keep", reason });
  const { adaptive, noise, measured, present, batchSize } = job;
  if (adaptive === undefined) return keep("the job's batch stays as it is");
  if (job.stepsLeft * batchSize < updatesMin * present) return keep("the job is about to end");
  if (job.isUnderWay) return keep("a batch is asked for already");
  if (measured.length === 0 || noise === undefined) return keep("nothing has been measured yet");
  if (job.nowMs - job.changedAtMs < policy.freezeMs)
    return keep("workers or batch have just changed");
  const curve = curveOf(job, noise, Math.min(adaptive.maxBatchSize, 2 * present));
  const now = curve.find((point) => point.batchSize === present);
  const best = curve.reduce((most, point) => (point.goodput > most.goodput ? point : most));
  if (now === undefined || best.goodput < (1 + policy.batchGainMin) * now.goodput)
    return keep(`no batch brings ${percent(policy.batchGainMin)} more`);
  const times = best.batchSize / batchSize;
  const noiseScale = noiseScaleOf(noise, batchSize);
  return {
    kind: "want",
    batchSize: best.batchSize,
    learningRateFactor: round(factorOf(adaptive.learningRateScaling, noise, times)),
    reason: `an update of ${best.batchSize} samples is worth ${round(gainOf(noise, times))} of ${batchSize}; it shall bring ${percent(best.goodput / now.goodput - 1)} more than ${present}`,
    curve,
    ...(Number.isFinite(noiseScale) ? { noiseScale: round(noiseScale) } : {}),
  };
}

function curveOf(job: JobBatch, noise: GradientNoise, max: number): BatchPoint[] {
  const speed = fitSpeed(job, job.measured);
  const points: BatchPoint[] = [];
  for (let size = job.batchSize; size <= max; size *= 2) {
    const samplesPerSecond = speedAt({ ...speed, updateSize: size }, job.workers);
    const goodput = (gainOf(noise, size / job.batchSize) * samplesPerSecond) / size;
    points.push({
      batchSize: size,
      samplesPerSecond: round(samplesPerSecond),
      goodput: round(goodput),
    });
  }
  return points;
}

/** AdaScale: Johnson et al., ICML 2020, equation 3, which is the gain. */
function factorOf(rule: LearningRateScaling, noise: GradientNoise, times: number): number {
  switch (rule) {
    case "adascale":
      return gainOf(noise, times);
    case "sqrt":
      return Math.sqrt(times);
    case "linear":
      return times;
    case "none":
      return 1;
  }
}

const round = (value: number) => Math.round(value * 1e4) / 1e4;
const percent = (part: number) => `${Math.round(part * 100)} %`;
