/**
 * Squared norms of the gradient at two sizes of batch, from which its noise follows (libs/goodput):
 * of single shards, as they are computed, and of the whole batch, as it is applied. It reads vectors
 * that are there anyway and changes nothing. A step is measured only when the measuring of the one
 * before has become a two-hundredth of the time since.
 */
import type { NoiseSample } from "@coxswain/goodput";

const shareOfTime = 1 / 200;

export class NoiseProbe {
  readonly #shards: number;
  readonly #nowMs: () => number;
  #dueAtMs = Number.NEGATIVE_INFINITY;
  #step = -1;
  #isOn = false;
  #squares = 0;
  #count = 0;
  #spentMs = 0;

  /** @param shards of the batch; with a single one there are no two sizes */
  constructor(shards: number, nowMs: () => number) {
    this.#shards = shards;
    this.#nowMs = nowMs;
  }

  begin(step: number): void {
    this.#step = step;
    this.#isOn = this.#shards > 1 && this.#nowMs() >= this.#dueAtMs;
    this.#squares = 0;
    this.#count = 0;
    this.#spentMs = 0;
  }

  /** Whether the step is one that is measured: it must see each shard. */
  get isOn(): boolean {
    return this.#isOn;
  }

  /** A shard's part of the mean gradient: a sum over all shards gives the whole. */
  shard(gradient: Float32Array): void {
    if (!this.#isOn) return;
    // As the gradient of the shard's samples alone: so many times its part of the mean.
    this.#squares += this.#timed(gradient) * this.#shards ** 2;
    this.#count += 1;
  }

  /** The gradient of the whole batch. Says what the step shows, when it is one that is measured. */
  whole(step: number, gradient: Float32Array): NoiseSample | undefined {
    if (!this.#isOn || step !== this.#step || this.#count === 0) return undefined;
    this.#isOn = false;
    const meanSquare = this.#timed(gradient);
    this.#dueAtMs = this.#nowMs() + this.#spentMs / shareOfTime;
    const partSquares = this.#squares / this.#count;
    return Number.isFinite(partSquares + meanSquare) ? { partSquares, meanSquare } : undefined;
  }

  /** Measures for nobody: the first time takes much longer. */
  warm(gradient: Float32Array): void {
    squareOf(gradient);
  }

  #timed(gradient: Float32Array): number {
    const startedMs = this.#nowMs();
    const square = squareOf(gradient);
    this.#spentMs += this.#nowMs() - startedMs;
    return square;
  }
}

/** In double, four sums side by side. */
function squareOf(vector: Float32Array): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  const whole = vector.length - (vector.length % 4);
  for (let i = 0; i < whole; i += 4) {
    a += vector[i]! * vector[i]!;
    b += vector[i + 1]! * vector[i + 1]!;
    c += vector[i + 2]! * vector[i + 2]!;
    d += vector[i + 3]! * vector[i + 3]!;
  }
  for (let i = whole; i < vector.length; i += 1) a += vector[i]! * vector[i]!;
  return a + b + (c + d);
}
