/**
 * Tiresias, as the OSDI'21 artifact of Pollux runs it: discretised least attained service.
 *
 * Two queues, first come, first served. A job falls into the second one when it has run for 16
 * GPU-hours. Both are walked in order: what fits runs, what does not is preempted. Workers and batch
 * are the user's. Gu et al., "Tiresias: A GPU Cluster Manager for Distributed Deep Learning", NSDI'19.
 */
import { type Allocations, cluster, freeRoom, type Policy, takeEmptiest } from "../cluster.ts";
import type { SimulatedJob } from "../job.ts";
import type { Submission } from "../load-traces.ts";

const demotionGpuSeconds = 16 * 3600;

interface Record {
  isRunning: boolean;
  isDemoted: boolean;
  ranSeconds: number;
  seenSeconds: number;
}

export class Tiresias implements Policy {
  readonly #workers: ReadonlyMap<string, number>;
  readonly #records = new Map<SimulatedJob, Record>();
  /** In the order of arrival in their queue. */
  #queues: [SimulatedJob[], SimulatedJob[]] = [[], []];

  constructor(workload: readonly Submission[]) {
    this.#workers = new Map(workload.map(({ name, workers }) => [name, workers]));
  }

  fixedBatch({ batch }: Submission): number {
    return batch;
  }

  decide(jobs: readonly SimulatedJob[], nowSeconds: number): Allocations {
    this.#queue(jobs, nowSeconds);
    let free = cluster.nodes * cluster.workersPerNode;
    const running: SimulatedJob[] = [];
    for (const job of this.#queues.flat()) {
      const record = this.#records.get(job)!;
      record.isRunning = this.#workersOf(job) <= free;
      if (!record.isRunning) continue;
      free -= this.#workersOf(job);
      running.push(job);
    }
    const kept = running.filter(({ allocation }) => allocation.length > 0);
    const allocations = new Map(kept.map((job) => [job, job.allocation]));
    const room = freeRoom(allocations);
    for (const job of running)
      if (!allocations.has(job)) allocations.set(job, takeEmptiest(room, this.#workersOf(job)));
    return allocations;
  }

  #queue(jobs: readonly SimulatedJob[], nowSeconds: number): void {
    const present = new Set(jobs);
    this.#queues = [
      this.#queues[0].filter((job) => present.has(job)),
      this.#queues[1].filter((job) => present.has(job)),
    ];
    for (const job of jobs) {
      if (this.#records.has(job)) continue;
      this.#queues[0].push(job);
      this.#records.set(job, {
        isRunning: false,
        isDemoted: false,
        ranSeconds: 0,
        seenSeconds: nowSeconds,
      });
    }
    for (const job of jobs) {
      const record = this.#records.get(job)!;
      if (record.isRunning) record.ranSeconds += nowSeconds - record.seenSeconds;
      record.seenSeconds = nowSeconds;
      if (record.isDemoted || !record.isRunning) continue;
      if (record.ranSeconds * this.#workersOf(job) < demotionGpuSeconds) continue;
      record.isDemoted = true;
      this.#queues[0] = this.#queues[0].filter((one) => one !== job);
      this.#queues[1].push(job);
    }
  }

  #workersOf(job: SimulatedJob): number {
    return this.#workers.get(job.name)!;
  }
}
