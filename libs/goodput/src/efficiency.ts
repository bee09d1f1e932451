/**
 * What a larger batch is worth: statistical efficiency from the noise of the gradient.
 *
 *   noiseScale    = M0 * variance / squaredNorm      variance: of the gradient of M0 samples
 *   gain(M)       = (noiseScale + M0) / (noiseScale + M) * M / M0
 *   efficiency(M) = gain(M) * M0 / M                 1 at M = M0, falling
 *
 * A step of M samples brings as far as gain(M) steps of M0. Below the noise scale a twice as large
 * batch is nearly worth two steps, beyond it next to nothing. After McCandlish et al., "An
 * Empirical Model of Large-Batch Training" (2018), in the form of Pollux (OSDI'21, section 3.1).
 */

export interface GradientNoise {
  /** |E g|^2: squared norm of the true gradient. */
  readonly squaredNorm: number;
  /** Trace of the covariance of the gradient of a batch of M0 samples. */
  readonly variance: number;
}

/** Steps of M0 samples that a step of `scale` times as many is worth. */
export function gainOf({ squaredNorm, variance }: GradientNoise, scale: number): number {
  const rest = variance / scale + squaredNorm;
  return rest > 0 ? (variance + squaredNorm) / rest : 1;
}

/**
 * Noise from the gradients of equal parts of a batch, without bias:
 *
 *   |E g|^2    = (n |mean|^2 - average |part|^2) / (n - 1)
 *   var(part)  = (average |part|^2 - |mean|^2) * n / (n - 1)      variance = var(part) / n
 *
 * @param partSquares average over the parts of |gradient of the part|^2
 * @param meanSquare |mean of the parts' gradients|^2
 * @param parts number of equal parts, at least 2
 * Both results are cut off at 0, which small samples may miss.
 */
export function noiseOfParts(
  partSquares: number,
  meanSquare: number,
  parts: number,
): GradientNoise {
  const varianceOfPart = (Math.max(0, partSquares - meanSquare) * parts) / (parts - 1);
  return {
    squaredNorm: Math.max(0, meanSquare - varianceOfPart / parts),
    variance: varianceOfPart / parts,
  };
}

/**
 * What a batch makes of its samples, against batches of one of its parts: 1 when all of the gradient
 * is noise, 1 / parts when none is.
 */
export function efficiencyOf({ squaredNorm, variance }: GradientNoise, parts: number): number {
  return gainOf({ squaredNorm, variance: variance * parts }, parts) / parts;
}

/** Samples beyond which a larger batch brings little; Infinity when the gradient is all noise. */
export function noiseScaleOf({ squaredNorm, variance }: GradientNoise, batch: number): number {
  return squaredNorm > 0 ? (batch * variance) / squaredNorm : Number.POSITIVE_INFINITY;
}
