/**
 * Memory that was written to before: to copy into fresh memory takes several times as long, since
 * each of its pages is a fault.
 */
export class WarmBuffers {
  readonly #keptMax: number;
  #free: Float32Array<ArrayBuffer>[] = [];

  /** @param keptMax so many are kept while nobody uses them: the largest ones */
  constructor(keptMax: number) {
    this.#keptMax = keptMax;
  }

  /** The least that is large enough, or new memory. Its length is `floats`. */
  take(floats: number): Float32Array<ArrayBuffer> {
    const found = this.#free.find(({ length }) => length >= floats);
    if (found === undefined) return new Float32Array(floats);
    this.#free = this.#free.filter((one) => one !== found);
    return found.subarray(0, floats);
  }

  giveBack({ buffer }: Float32Array<ArrayBuffer>): void {
    this.#free = [...this.#free, new Float32Array(buffer)]
      .sort((a, b) => a.length - b.length)
      .slice(-this.#keptMax);
  }
}
