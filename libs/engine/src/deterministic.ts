/**
 * TensorFlow.js draws the seeds of its random operators from `Math.random`. While a program runs,
 * `Math.random` is a counter-based generator keyed by what is being computed, so that dropout and
 * initialisation are functions of (seed, step, shard) wherever they run.
 */
import { type Place, philox } from "@coxswain/domain";
import seedrandom from "seedrandom";

export const purposes = { initialization: 1, training: 2, evaluation: 3, probe: 4 } as const;

/** What the given call of `Math.random` gives at this place; calls count from 0. */
export function drawAt(place: Place, call: number): number {
  const words = new Uint32Array(4);
  philox([call, place.a ?? 0, place.b ?? 0, 7], place.seed, place.purpose, words);
  return (words[0]! * 2 ** 21 + (words[1]! >>> 11)) / 2 ** 53;
}

/** @param onDraw hears of each number that is drawn */
export function withDeterministicRandom<Result>(
  place: Place,
  act: () => Result,
  onDraw?: (draw: number) => void,
): Result {
  const original = Math.random;
  let calls = 0;
  Math.random = () => {
    const draw = drawAt(place, calls);
    calls += 1;
    onDraw?.(draw);
    return draw;
  };
  try {
    return act();
  } finally {
    Math.random = original;
  }
}

/** What `tf.randomUniform(shape, 0, 1)` gives when its seed is this draw: Alea's stream (Baagøe). */
export function fillUniformOf(draw: number, out: Float32Array): void {
  const next = seedrandom.alea(String(draw));
  for (let i = 0; i < out.length; i += 1) out[i] = next();
}

export function isUniformOf(draw: number, values: Float32Array): boolean {
  const next = seedrandom.alea(String(draw));
  return values.every((value) => value === Math.fround(next()));
}
