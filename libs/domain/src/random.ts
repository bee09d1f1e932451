/**
 * Counter-based random numbers: a number is a pure function of its key and place, so nobody keeps a
 * stream and any worker can draw any number.
 *
 * Philox4x32-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC'11); the tests
 * hold it against the known answers published with the paper.
 */
const multiplier0 = 0xd2511f53;
const multiplier1 = 0xcd9e8d57;
const weyl0 = 0x9e3779b9;
const weyl1 = 0xbb67ae85;

/** High and low 32 bits of a 32 x 32 bit product, in plain doubles. */
function mulHigh(a: number, b: number): number {
  const aLow = a & 0xffff;
  const aHigh = a >>> 16;
  const bLow = b & 0xffff;
  const bHigh = b >>> 16;
  const low = aLow * bLow;
  const mid = aHigh * bLow + (low >>> 16);
  const mid2 = aLow * bHigh + (mid % 0x10000);
  return (aHigh * bHigh + Math.floor(mid / 0x10000) + Math.floor(mid2 / 0x10000)) >>> 0;
}

export type Counter = readonly [number, number, number, number];

/** Four 32-bit words for a counter of four words and a key of two. Written to `out`. */
export function philox(counter: Counter, key0: number, key1: number, out: Uint32Array): void {
  let [c0, c1, c2, c3] = counter;
  let k0 = key0 >>> 0;
  let k1 = key1 >>> 0;
  for (let round = 0; round < 10; round += 1) {
    const high0 = mulHigh(multiplier0, c0);
    const low0 = Math.imul(multiplier0, c0) >>> 0;
    const high1 = mulHigh(multiplier1, c2);
    const low1 = Math.imul(multiplier1, c2) >>> 0;
    c0 = (high1 ^ c1 ^ k0) >>> 0;
    c1 = low1;
    c2 = (high0 ^ c3 ^ k1) >>> 0;
    c3 = low0;
    k0 = (k0 + weyl0) >>> 0;
    k1 = (k1 + weyl1) >>> 0;
  }
  out[0] = c0;
  out[1] = c1;
  out[2] = c2;
  out[3] = c3;
}

/** What a sequence of numbers is for: two sequences with different places share nothing. */
export interface Place {
  readonly seed: number;
  /** What it is for, for example 1 initialisation, 2 dropout. */
  readonly purpose: number;
  /** For example the step, the shard. Unsigned 32-bit numbers. */
  readonly a?: number;
  readonly b?: number;
}

/** Fills `out` with uniform floats in [0, 1): 24 random bits each, exact in float32. */
export function fillUniform(place: Place, out: Float32Array): void {
  const words = new Uint32Array(4);
  for (let i = 0; i < out.length; i += 4) {
    philox([i / 4, place.a ?? 0, place.b ?? 0, 0], place.seed, place.purpose, words);
    for (let j = 0; j < 4 && i + j < out.length; j += 1)
      out[i + j] = (words[j]! >>> 8) / 16_777_216;
  }
}

/**
 * Fills `out` with nearly normal floats: the sum of twelve uniforms less six (Irwin-Hall), mean 0,
 * variance 1, within +-6. Only additions of exact numbers, so the bits are the same on every
 * machine, which `Math.log` and `Math.cos` do not promise.
 */
export function fillNormal(place: Place, out: Float32Array): void {
  const words = new Uint32Array(4);
  for (let i = 0; i < out.length; i += 1) {
    let sum = 0;
    for (let block = 0; block < 3; block += 1) {
      philox([i, place.a ?? 0, place.b ?? 0, block + 1], place.seed, place.purpose, words);
      for (let j = 0; j < 4; j += 1) sum += words[j]! >>> 8;
    }
    out[i] = sum / 16_777_216 - 6;
  }
}
