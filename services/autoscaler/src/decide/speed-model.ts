/**
 * A job's speed by its number of workers, predicted by the step model of libs/goodput.
 *
 * The batch of a job is cut into V equal shards: with n workers the busiest computes ceil(V / n) of
 * them, so that is what an update waits for, and counts in between bring nothing. A batch that has
 * grown to k times the job's own is k times as much of each shard, and one exchange.
 */
import { fitThroughput, type StepModel, stepSeconds } from "@coxswain/goodput";

export interface Measured {
  readonly workers: number;
  /** Nodes that held them. */
  readonly nodes: number;
  readonly samplesPerSecond: number;
  /** Samples of an update; absent: the job's batch. */
  readonly updateSize?: number;
}

export interface Batch {
  readonly batchSize: number;
  readonly shards: number;
  /** Samples of an update that is asked about; absent: the job's batch. */
  readonly updateSize?: number;
}

export interface SpeedModel extends Batch {
  readonly model: StepModel;
  readonly measured: readonly Measured[];
}

/** @param measured at least one count */
export function fitSpeed(batch: Batch, measured: readonly Measured[]): SpeedModel {
  const observations = measured.map(
    ({ workers, nodes, samplesPerSecond, updateSize = batch.batchSize }) => ({
      workers,
      nodes,
      samples: samplesOf({ ...batch, updateSize }, workers),
      stepSeconds: updateSize / samplesPerSecond,
    }),
  );
  return { ...batch, measured, model: fitThroughput(observations) };
}

/** Samples a second. */
export function speedAt(speed: SpeedModel, workers: number): number {
  const spread = { workers, nodes: nodesOf(speed.measured, workers) };
  const batch = { samples: samplesOf(speed, workers), accumulated: 0 };
  const { updateSize = speed.batchSize } = speed;
  return updateSize / stepSeconds(speed.model, spread, batch);
}

/** What the busiest worker computes in an update. */
function samplesOf({ batchSize, shards, updateSize = batchSize }: Batch, workers: number): number {
  return (updateSize * Math.ceil(shards / workers)) / shards;
}

/** As many as held the largest count so far that is not larger. */
function nodesOf(measured: readonly Measured[], workers: number): number {
  const below = measured.filter((one) => one.workers <= workers).at(-1);
  return Math.min(workers, below?.nodes ?? 1);
}
