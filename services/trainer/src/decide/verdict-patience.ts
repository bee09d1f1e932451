/**
 * A checkpoint that all its writers have told is read back before it is committed, which takes a
 * while when it is large. Its writers may have left meanwhile, as on suspend and preemption: whoever
 * goes on where they stopped waits for that verdict, and does not do their last steps again. Not for
 * ever: the checkpoint service may be gone.
 */
import type { Job, UnjudgedCheckpoint } from "@coxswain/domain";

export const verdictTimeoutMs = 30_000;

export class VerdictPatience {
  #awaited: UnjudgedCheckpoint | undefined;
  #sinceMs = 0;

  /** The checkpoint to wait for, asked at this time of a monotonic clock. */
  awaited({ unjudged }: Pick<Job, "unjudged">, nowMs: number): UnjudgedCheckpoint | undefined {
    const whole = unjudged.filter(({ parts, told }) => told.length === parts);
    const newest = whole.reduce<UnjudgedCheckpoint | undefined>(
      (best, one) => (best === undefined || isNewer(one, best) ? one : best),
      undefined,
    );
    if (newest === undefined) return undefined;
    if (this.#awaited === undefined || isNewer(newest, this.#awaited)) {
      this.#awaited = newest;
      this.#sinceMs = nowMs;
    }
    return nowMs - this.#sinceMs < verdictTimeoutMs ? newest : undefined;
  }
}

const isNewer = (one: UnjudgedCheckpoint, other: UnjudgedCheckpoint) =>
  one.step > other.step || (one.step === other.step && one.generation > other.generation);
