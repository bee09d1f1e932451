/** How long the present update is under way, and what one takes. */
import type { Clock } from "./clock.ts";

/** Of the newest update in the mean. */
const weight = 0.1;
/** Beyond some usual updates. */
const lateMs = 1000;

export class StepClock {
  readonly #clock: Pick<Clock, "nowMs">;
  #startedMs = 0;
  #meanMs: number | undefined;

  constructor(clock: Pick<Clock, "nowMs">) {
    this.#clock = clock;
  }

  start(): void {
    this.#startedMs = this.#clock.nowMs();
  }

  /** Milliseconds since the start, monotonic. */
  get ageMs(): number {
    return this.#clock.nowMs() - this.#startedMs;
  }

  /** So many updates have taken the time since the start. */
  done(updates = 1): void {
    const tookMs = this.ageMs / updates;
    const mean = this.#meanMs ?? tookMs;
    this.#meanMs = mean + (1 - (1 - weight) ** updates) * (tookMs - mean);
  }

  /** At such an age something may be wrong with it. */
  get lateMs(): number {
    return lateMs + 3 * (this.#meanMs ?? lateMs);
  }

  /** Undefined until one was done. */
  get meanMs(): number | undefined {
    return this.#meanMs;
  }
}
