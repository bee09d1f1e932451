/** A quick look before a costly one. */

const samplesMax = 4096;

export class ChangeWatch {
  /** By the length of a part: what was seen of it last. */
  readonly #seen = new Map<number, Float32Array>();

  /**
   * Whether some floats of the part, spread over all of it, differ from what they were last time.
   * True means that it has changed; false that it may be the same.
   */
  hasChanged(part: Float32Array): boolean {
    const stride = Math.max(1, Math.floor(part.length / samplesMax));
    const count = Math.ceil(part.length / stride);
    const now = Float32Array.from({ length: count }, (_, i) => part[i * stride]!);
    const before = this.#seen.get(part.length);
    this.#seen.set(part.length, now);
    return before !== undefined && now.some((value, i) => !Object.is(value, before[i]));
  }
}
