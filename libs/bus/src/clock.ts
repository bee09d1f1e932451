/** Time as an argument, so that the simulation can bring its own. */
import { setTimeout as delay } from "node:timers/promises";

export interface Clock {
  /** Monotonic. */
  nowMs(): number;
  /** Unix time in ms: what the machine believes, which may jump. */
  wallMs(): number;
  /** Resolves after so long, or when `signal` aborts. */
  delay(ms: number, signal?: AbortSignal): Promise<void>;
}

export const systemClock: Clock = {
  nowMs: () => performance.now(),
  wallMs: () => Date.now(),
  delay: (ms, signal) => delay(ms, undefined, signal ? { signal } : {}).catch(() => undefined),
};

/** Resolves when either happens: the promise, or the time; the timer is cleared. Says whether the promise did. */
export async function within(
  clock: Pick<Clock, "delay">,
  promise: Promise<unknown>,
  ms: number,
): Promise<boolean> {
  const timer = new AbortController();
  let isDone = false;
  const done = promise.then(() => {
    isDone = true;
  });
  await Promise.race([done, clock.delay(ms, timer.signal)]);
  timer.abort();
  return isDone;
}
