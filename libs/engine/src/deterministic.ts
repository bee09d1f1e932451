/**
 * TensorFlow.js draws the seeds of its random operators from `Math.random`. While a program runs,
 * `Math.random` is a counter-based generator keyed by what is being computed, so that dropout and
 * initialisation are functions of (seed, step, shard) wherever they run.
 */
import { type Place, philox } from "@coxswain/domain";

export const purposes = { initialization: 1, training: 2, evaluation: 3 } as const;

export function withDeterministicRandom<Result>(place: Place, act: () => Result): Result {
  const original = Math.random;
  const words = new Uint32Array(4);
  let calls = 0;
  Math.random = () => {
    philox([calls, place.a ?? 0, place.b ?? 0, 7], place.seed, place.purpose, words);
    calls += 1;
    return (words[0]! * 2 ** 21 + (words[1]! >>> 11)) / 2 ** 53;
  };
  try {
    return act();
  } finally {
    Math.random = original;
  }
}
