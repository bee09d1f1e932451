/**
 * A job's speed by its number of workers, predicted by the step model of libs/goodput.
 *
 * The batch of a job is fixed, and cut into V equal shards: with n workers the busiest computes
 * ceil(V / n) of them, so that is what a step waits for, and counts in between bring nothing.
 */
import { fitThroughput, type StepModel, stepSeconds } from "@coxswain/goodput";

export interface Measured {
  readonly workers: number;
  /** Nodes that held them. */
  readonly nodes: number;
  readonly samplesPerSecond: number;
}

export interface Batch {
  readonly batchSize: number;
  readonly shards: number;
}

export interface SpeedModel extends Batch {
  readonly model: StepModel;
  readonly measured: readonly Measured[];
}

/** @param measured at least one count */
export function fitSpeed(batch: Batch, measured: readonly Measured[]): SpeedModel {
  const observations = measured.map(({ workers, nodes, samplesPerSecond }) => ({
    workers,
    nodes,
    samples: samplesOf(batch, workers),
    stepSeconds: batch.batchSize / samplesPerSecond,
  }));
  return { ...batch, measured, model: fitThroughput(observations) };
}

/** Samples a second. */
export function speedAt(speed: SpeedModel, workers: number): number {
  const spread = { workers, nodes: nodesOf(speed.measured, workers) };
  const batch = { samples: samplesOf(speed, workers), accumulated: 0 };
  return speed.batchSize / stepSeconds(speed.model, spread, batch);
}

/** What the busiest worker computes in a step. */
function samplesOf({ batchSize, shards }: Batch, workers: number): number {
  return (batchSize * Math.ceil(shards / workers)) / shards;
}

/** As many as held the largest count so far that is not larger. */
function nodesOf(measured: readonly Measured[], workers: number): number {
  const below = measured.filter((one) => one.workers <= workers).at(-1);
  return Math.min(workers, below?.nodes ?? 1);
}
