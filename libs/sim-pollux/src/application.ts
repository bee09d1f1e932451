/**
 * An application of the traces: what its steps truly take, and what they are truly worth.
 *
 * Times come from measured placements (workers per node, such as `4,4,2`), linear in the local
 * batch; for placements that were not measured, from a grid over nodes and workers. Statistics of
 * the gradient and progress come from runs at several batch sizes, linear in between.
 */
import { assert } from "@coxswain/domain";
import type { BatchLimits, GradientNoise } from "@coxswain/goodput";

export interface StepTimes {
  readonly stepSeconds: number;
  /** Part of the step that is exchange. */
  readonly syncSeconds: number;
}

/** Times by local batch, ascending. */
export type TimesByBatch = readonly (readonly [samples: number, times: StepTimes])[];

/** A full training at one batch size: one row an epoch. */
export interface Validation {
  readonly batch: number;
  /** Steps of the base batch that the epochs so far are worth. */
  readonly progress: readonly number[];
  /** Steps taken. */
  readonly iterations: readonly number[];
  readonly noise: readonly GradientNoise[];
}

export interface ApplicationTrace {
  readonly name: string;
  readonly limits: BatchLimits;
  readonly epochs: number;
  /** By workers per node, such as `442`, in the smallest rotation. */
  readonly placements: ReadonlyMap<string, TimesByBatch>;
  /** By `nodes,workers`. */
  readonly grid: ReadonlyMap<string, TimesByBatch>;
  /** Ascending in the batch. */
  readonly validations: readonly Validation[];
}

/** The trace's grid ends there. */
const nodesMax = 16;

export class Application {
  readonly name: string;
  readonly limits: BatchLimits;
  readonly epochs: number;
  readonly #trace: ApplicationTrace;
  readonly #times = new Map<string, StepTimes>();

  constructor(trace: ApplicationTrace) {
    this.name = trace.name;
    this.limits = trace.limits;
    this.epochs = trace.epochs;
    this.#trace = trace;
  }

  /** @param placement workers on each node, in the order of the allocation */
  times(placement: readonly number[], samples: number): StepTimes {
    const key = `${placement.join("")},${samples}`;
    const cached = this.#times.get(key);
    if (cached !== undefined) return cached;
    const nodes = Math.min(placement.length, nodesMax);
    const workers = placement.reduce((sum, count) => sum + count, 0);
    const curve =
      this.#trace.placements.get(smallestRotation(placement)) ??
      this.#trace.grid.get(`${nodes},${workers}`);
    assert(curve !== undefined, `${this.name} was measured on ${nodes} nodes, ${workers} workers`);
    const times = interpolate(curve, samples);
    this.#times.set(key, times);
    return times;
  }

  noise(batch: number, epoch: number): GradientNoise {
    const [low, high, share] = this.#between(batch);
    const [a, b] = [low.noise[epoch]!, high.noise[epoch]!];
    return {
      squaredNorm: mix(a.squaredNorm, b.squaredNorm, share),
      variance: mix(a.variance, b.variance, share),
    };
  }

  /** Progress at which this many epochs are over. */
  progressAfter(epochs: number): number {
    if (epochs === 0) return 0;
    return Math.min(...this.#trace.validations.map(({ progress }) => progress[epochs - 1]!));
  }

  /** Steps that `epochs + 1` epochs take with this batch. */
  iterationsAt(batch: number, epoch: number): number {
    const [low, high, share] = this.#between(batch);
    return mix(low.iterations[epoch]!, high.iterations[epoch]!, share);
  }

  /** The measured batches around this one, and how far it is from the lower to the upper. */
  #between(batch: number): [Validation, Validation, number] {
    const { validations } = this.#trace;
    const high = validations.find((one) => one.batch >= batch);
    const low = validations.findLast((one) => one.batch <= batch);
    assert(high !== undefined && low !== undefined, `${this.name} was measured at batch ${batch}`);
    return [low, high, high === low ? 0 : (batch - low.batch) / (high.batch - low.batch)];
  }
}

const mix = (a: number, b: number, share: number) => a + (b - a) * share;

function smallestRotation(placement: readonly number[]): string {
  return placement
    .map((_, index) => [...placement.slice(index), ...placement.slice(0, index)].join(""))
    .sort()[0]!;
}

function interpolate(curve: TimesByBatch, samples: number): StepTimes {
  const above = curve.findIndex(([batch]) => batch >= samples);
  assert(above >= 0 && curve[0]![0] <= samples, `a local batch of ${samples} was measured`);
  const [batch, times] = curve[above]!;
  if (batch === samples) return times;
  const [batchBelow, below] = curve[above - 1]!;
  const share = (samples - batchBelow) / (batch - batchBelow);
  return {
    stepSeconds: mix(below.stepSeconds, times.stepSeconds, share),
    syncSeconds: mix(below.syncSeconds, times.syncSeconds, share),
  };
}
