/**
 * Optimus with an oracle, as the OSDI'21 artifact of Pollux runs it.
 *
 * Each job gets one GPU while there are any; then one GPU at a time goes where it shortens the
 * remaining time most, by the *true* times of a step and the *true* number of steps left. The batch
 * is the user's. Peng et al., "Optimus: An Efficient Dynamic Resource Scheduler for Deep Learning
 * Clusters", EuroSys'18.
 */
import { divide } from "@coxswain/goodput";
import { type Allocations, cluster, freeRoom, type Policy, takeEmptiest } from "../cluster.ts";
import type { SimulatedJob } from "../job.ts";
import type { Submission } from "../load-traces.ts";

export class Optimus implements Policy {
  fixedBatch({ batch }: Submission): number {
    return batch;
  }

  decide(jobs: readonly SimulatedJob[]): Allocations {
    const counts = countsOf(jobs);
    const kept = jobs.filter(({ allocation }, index) => allocation.length === counts[index]);
    const allocations = new Map(kept.map((job) => [job, job.allocation]));
    const free = freeRoom(allocations);
    const smallestFirst = jobs
      .map((job, index) => ({ job, count: counts[index]! }))
      .sort((a, b) => a.count - b.count);
    for (const { job, count } of smallestFirst)
      if (count > 0 && !allocations.has(job)) allocations.set(job, takeEmptiest(free, count));
    return allocations;
  }
}

function countsOf(jobs: readonly SimulatedJob[]): number[] {
  let free = cluster.nodes * cluster.workersPerNode;
  const counts = jobs.map(() => 0);
  const gains = jobs.map(() => 0);
  const grant = (index: number) => {
    counts[index]! += 1;
    const job = jobs[index]!;
    gains[index] = counts[index]! < workersMaxOf(job) ? gainOfOneMore(job, counts[index]!) : 0;
    free -= 1;
  };
  for (const index of jobs.keys()) if (free > 0) grant(index);
  while (free > 0) {
    const best = gains.indexOf(Math.max(...gains));
    if (gains[best]! <= 0) break;
    grant(best);
  }
  return counts;
}

function workersMaxOf({ application, fixedBatch }: SimulatedJob): number {
  if (application.name === "ncf") return 1;
  return Math.floor(fixedBatch! / application.limits.localMin);
}

function gainOfOneMore(job: SimulatedJob, workers: number): number {
  return (stepSecondsOf(job, workers) - stepSecondsOf(job, workers + 1)) * stepsLeftOf(job);
}

function stepsLeftOf({ application, fixedBatch, epoch }: SimulatedJob): number {
  const last = application.epochs - 1;
  if (last <= epoch) return 1;
  return application.iterationsAt(fixedBatch!, last) - application.iterationsAt(fixedBatch!, epoch);
}

function stepSecondsOf({ application, fixedBatch }: SimulatedJob, workers: number): number {
  const { limits } = application;
  const placement: number[] = [];
  for (let left = workers; left > 0; left -= cluster.workersPerNode)
    placement.push(Math.min(left, cluster.workersPerNode));
  let { accumulated } = divide(fixedBatch!, workers, limits);
  if (workers === 1) accumulated = Math.max(1, accumulated);
  const local = Math.ceil(fixedBatch! / workers - 1e-8);
  const most = Math.floor(limits.max / (workers * (accumulated + 1)));
  const samples = Math.min(Math.ceil(local / (accumulated + 1) - 1e-8), most);
  const { stepSeconds, syncSeconds } = application.times(placement, samples);
  return stepSeconds + (stepSeconds - syncSeconds) * accumulated;
}
