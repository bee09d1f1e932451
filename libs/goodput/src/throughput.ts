/**
 * How long a synchronous step takes, by where the workers are and how much each computes.
 *
 *   grad(m)    = alphaGrad + betaGrad m                        m: samples a worker computes at once
 *   sync(n, k) = 0                                     k = 1   k: workers, n: nodes that hold them
 *              = alphaLocal + betaLocal (k - 2)        n = 1
 *              = alphaNodes + betaNodes (k - 2)        n > 1
 *   step       = s grad + (grad^gamma + sync^gamma)^(1/gamma)  s: further accumulated batches
 *
 * gamma = 1: nothing overlaps; 10: nearly max(grad, sync). After Qiao et al., "Pollux: Co-adaptive
 * Cluster Scheduling for Goodput-Optimized Deep Learning", OSDI'21, section 3.2.
 */

export interface StepModel {
  /** Seconds. */
  readonly alphaGrad: number;
  /** Seconds per sample. */
  readonly betaGrad: number;
  readonly alphaNodes: number;
  readonly betaNodes: number;
  readonly alphaLocal: number;
  readonly betaLocal: number;
  /** From 1 to 10. */
  readonly gamma: number;
}

/** Where the workers of a job are. */
export interface Spread {
  readonly nodes: number;
  readonly workers: number;
}

/** What each worker computes in one step. */
export interface LocalBatch {
  /** Samples computed at once. */
  readonly samples: number;
  /** Batches accumulated before the one that is exchanged. */
  readonly accumulated: number;
}

/** What is not measured, or not there, counts as this: small, and its logarithm exists. */
export const secondsMin = 1e-8;

export function gradSeconds(model: StepModel, samples: number): number {
  return model.alphaGrad + model.betaGrad * samples;
}

export function syncSeconds(model: StepModel, { nodes, workers }: Spread): number {
  if (workers <= 1) return 0;
  const further = Math.max(workers - 2, 0);
  return nodes > 1
    ? model.alphaNodes + model.betaNodes * further
    : model.alphaLocal + model.betaLocal * further;
}

/** The step's last batch: its computation and the exchange, partly at the same time. */
export function overlapped(gamma: number, grad: number, sync: number): number {
  if (sync <= secondsMin) return grad + sync;
  const [low, high] = grad < sync ? [grad, sync] : [sync, grad];
  return high * (1 + (low / high) ** gamma) ** (1 / gamma);
}

export function stepSeconds(model: StepModel, spread: Spread, batch: LocalBatch): number {
  const grad = gradSeconds(model, batch.samples);
  return batch.accumulated * grad + overlapped(model.gamma, grad, syncSeconds(model, spread));
}
