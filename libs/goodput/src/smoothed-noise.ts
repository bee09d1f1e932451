/**
 * The noise of a job's gradient over its last measured steps. The squares are averaged first and put
 * into a ratio afterwards: the ratio of one step's squares is biased and wild (McCandlish et al.,
 * "An Empirical Model of Large-Batch Training", 2018, appendix A.1).
 */
import { type GradientNoise, noiseOfParts } from "./efficiency.ts";

/** What one step shows. */
export interface NoiseSample {
  /** Average over some parts of the batch of |gradient of the part|^2. */
  readonly partSquares: number;
  /** |gradient of the whole batch|^2 */
  readonly meanSquare: number;
}

/** An older sample counts so much less than the next one: some twenty count. */
const keep = 0.95;
/** Fewer say nothing. */
const samplesMin = 8;

export class SmoothedNoise {
  readonly #parts: number;
  #samples = 0;
  #weight = 0;
  #partSquares = 0;
  #meanSquare = 0;

  /** @param parts equal parts that the batch has, at least 2 */
  constructor(parts: number) {
    this.#parts = parts;
  }

  add({ partSquares, meanSquare }: NoiseSample): void {
    this.#samples += 1;
    this.#weight = keep * this.#weight + 1;
    this.#partSquares = keep * this.#partSquares + partSquares;
    this.#meanSquare = keep * this.#meanSquare + meanSquare;
  }

  /** Of the gradient of the whole batch; undefined until enough was seen. */
  get noise(): GradientNoise | undefined {
    if (this.#samples < samplesMin) return undefined;
    return noiseOfParts(
      this.#partSquares / this.#weight,
      this.#meanSquare / this.#weight,
      this.#parts,
    );
  }
}

/**
 * What a step shows, as if each part had been one of `times` equal ones: the parts' means stay, their
 * scatter is so many times as large.
 *
 *   E partSquares = n + v, E meanSquare = n + v / parts    n: |E g|^2, v: variance of a part
 */
export function atBatch(sample: NoiseSample, parts: number, times: number): NoiseSample {
  if (times === 1 || parts < 2) return sample;
  const variance = ((sample.partSquares - sample.meanSquare) * parts) / (parts - 1);
  const squaredNorm = sample.meanSquare - variance / parts;
  return {
    partSquares: squaredNorm + variance * times,
    meanSquare: squaredNorm + (variance * times) / parts,
  };
}
