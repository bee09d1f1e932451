/**
 * The batch that makes most of a number of workers, and the goodput that it brings.
 *
 *   goodput = gain(M) / stepSeconds        steps of M0 samples a second, as far as they bring
 *
 * Tried are 50 batches in geometric order from the smallest to the largest that the job allows
 * (Pollux, OSDI'21, section 4.2 and its code). A job whose batch is fixed has one candidate.
 */
import { type GradientNoise, gainOf } from "./efficiency.ts";
import { overlapped, type Spread, type StepModel, syncSeconds } from "./throughput.ts";

export interface BatchLimits {
  /** M0: the batch that a step is counted in, and the smallest. */
  readonly base: number;
  /** The largest batch of all workers together. */
  readonly max: number;
  /** Of one worker at once. */
  readonly localMin: number;
  readonly localMax: number;
}

export interface Batch {
  readonly samples: number;
  readonly accumulated: number;
}

export interface TunedBatch extends Batch {
  readonly goodput: number;
}

const candidatesCount = 50;
const slack = 1e-8;

/** How `total` samples are divided among the workers: rounded up, accumulated where too large. */
export function divide(total: number, workers: number, { base, localMax }: BatchLimits): Batch {
  const local = total / workers;
  let accumulated = Math.ceil(local / localMax - slack) - 1;
  // One worker that sees a single batch learns nothing of its noise.
  if (workers === 1 && local > base + slack) accumulated = Math.max(1, accumulated);
  return { accumulated, samples: Math.ceil(local / (accumulated + 1) - slack) };
}

/** The best batch on this spread; goodput 0 when none is allowed. */
export function tuneBatch(
  model: StepModel,
  noise: GradientNoise,
  spread: Spread,
  limits: BatchLimits,
): TunedBatch {
  const { workers } = spread;
  const low = Math.max(limits.base, limits.localMin * workers);
  const ratio = (limits.max / low) ** (1 / (candidatesCount - 1));
  const sync = syncSeconds(model, spread);
  let best: TunedBatch = { samples: 0, accumulated: 0, goodput: 0 };
  for (let index = 0; index < candidatesCount; index += 1) {
    const total = index === candidatesCount - 1 ? limits.max : low * ratio ** index;
    const { samples, accumulated } = divide(total, workers, limits);
    if (samples < limits.localMin || samples > limits.localMax) continue;
    const grad = model.alphaGrad + model.betaGrad * samples;
    const seconds = accumulated * grad + overlapped(model.gamma, grad, sync);
    const gain = gainOf(noise, (workers * samples * (accumulated + 1)) / limits.base);
    if (gain / seconds > best.goodput) best = { samples, accumulated, goodput: gain / seconds };
  }
  return best;
}
