/**
 * Jobs that are alike for a question, kept together: what is answered for one of a group need not be
 * asked of the others. A group's jobs differ in their age alone.
 */
import { type Job, wantedWorkers } from "@coxswain/domain";
import { byAge } from "./snapshot.ts";

export interface JobGroup {
  readonly key: string;
  readonly queue: string;
  readonly shape: string;
  readonly priority: number;
  /** Workers that each of them has. */
  readonly count: number;
  /** It has as many as shall train; beyond that are those that stand by. */
  readonly isServed: boolean;
  /** More than shall train. */
  readonly isBeyond: boolean;
  /** Oldest first. */
  readonly jobs: Job[];
}

export class JobGroups {
  readonly #byQueue = new Map<string, Map<string, JobGroup>>();
  readonly #of = new Map<string, { readonly group: JobGroup; readonly job: Job }>();

  /** The groups of each queue that has any. */
  get byQueue(): ReadonlyMap<string, ReadonlyMap<string, JobGroup>> {
    return this.#byQueue;
  }

  has(jobId: string): boolean {
    return this.#of.has(jobId);
  }

  /** A job as it is; in the group that it belongs to now. */
  add(job: Job, shape: string): void {
    const { queue, priority } = job.spec;
    const count = job.placement.length;
    const wanted = wantedWorkers(job);
    const [isServed, isBeyond] = [count >= wanted, count > wanted];
    const key = JSON.stringify([shape, priority, count, isServed, isBeyond]);
    const known = this.#of.get(job.id);
    if (known !== undefined && known.group.key === key && known.group.queue === queue) return;
    this.delete(job.id);
    let groups = this.#byQueue.get(queue);
    if (groups === undefined) {
      groups = new Map();
      this.#byQueue.set(queue, groups);
    }
    let group = groups.get(key);
    if (group === undefined) {
      group = { key, queue, shape, priority, count, isServed, isBeyond, jobs: [] };
      groups.set(key, group);
    }
    group.jobs.splice(placeBehind(group.jobs, job), 0, job);
    this.#of.set(job.id, { group, job });
  }

  delete(jobId: string): void {
    const known = this.#of.get(jobId);
    if (known === undefined) return;
    const { group, job } = known;
    this.#of.delete(jobId);
    group.jobs.splice(placeBehind(group.jobs, job) - 1, 1);
    if (group.jobs.length > 0) return;
    const groups = this.#byQueue.get(group.queue)!;
    groups.delete(group.key);
    if (groups.size === 0) this.#byQueue.delete(group.queue);
  }
}

/** Behind all that are as old or older. */
export function placeBehind(jobs: readonly Job[], job: Job): number {
  let [low, high] = [0, jobs.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byAge(jobs[middle]!, job) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}
