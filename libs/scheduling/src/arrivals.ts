/**
 * When the jobs that may grow were submitted. They often come in bursts, and whoever takes all free room in the
 * midst of one gives most of it to those behind it. So times are restless while one that may grow came
 * less than a freeze window ago, and is not alone: until they are over, a job at most doubles, once in
 * each window (`growsTo` in `draft.ts`).
 */
import type { Job } from "@coxswain/domain";

export class Arrivals {
  /** Of those that hold room, ascending. */
  readonly #atMs: number[] = [];

  add(job: Job): void {
    if (isElastic(job))
      this.#atMs.splice(this.#placeBehind(job.submittedAtMs), 0, job.submittedAtMs);
  }

  delete(job: Job): void {
    if (isElastic(job)) this.#atMs.splice(this.#placeBehind(job.submittedAtMs) - 1, 1);
  }

  get count(): number {
    return this.#atMs.length;
  }

  get newestMs(): number {
    return this.#atMs.at(-1) ?? Number.NEGATIVE_INFINITY;
  }

  #placeBehind(atMs: number): number {
    let [low, high] = [0, this.#atMs.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.#atMs[middle]! <= atMs) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

export const isElastic = ({ spec }: Job) => spec.workers.max > spec.workers.min;
