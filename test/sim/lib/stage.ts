/** Simulated time, what happened in it, and the first thing that must not have happened. */
import { type Timer, Timers } from "./timers.ts";

export class Stage {
  readonly #timers = new Timers();
  #breach: string | undefined;
  nowMs = 0;
  events = 0;
  readonly log: string[] = [];

  /** What must hold; the first breach ends the run. */
  check(actual: unknown, expected: unknown, sentence: string): void {
    if (actual !== expected) this.fail(`${sentence}: ${actual} is not ${expected}`);
  }

  /** Something happened that never may. */
  fail(sentence: string): void {
    this.#breach ??= sentence;
  }

  note(sentence: string): void {
    this.log.push(`${this.nowMs.toFixed(1).padStart(9)} ${sentence}`);
  }

  at(delayMs: number, fire: () => void): Timer {
    return this.#timers.add(this.nowMs + delayMs, fire);
  }

  cancel(timer: Timer): void {
    timer.isCancelled = true;
  }

  /** Runs until `isDone`, or until so much simulated time has passed. @throws Error with the first breach */
  async run(isDone: () => boolean, limitMs: number): Promise<boolean> {
    while (!isDone()) {
      await new Promise(setImmediate); // Promises settle first.
      if (this.#breach !== undefined) throw new Error(this.#breach);
      const first = this.#timers.next();
      if (first === undefined || first.atMs > limitMs) return false;
      this.events += 1;
      this.nowMs = first.atMs;
      first.fire();
    }
    return true;
  }
}
