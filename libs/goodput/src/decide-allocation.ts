/**
 * Which workers each job of a cluster has, so that jobs end early and the machines are used well.
 *
 * Each minute or so the workers are divided anew, such that
 *
 *   sum over jobs of weight * worth      is largest, with
 *   worth  = (goodput(k) / goodput(1) * efficiency * kept)^fairness
 *   weight = min(hoursLeft, hoursCap)^-urgency
 *
 * hoursLeft is how long the job would still take with one worker: what ends soon goes first, which
 * is what shortens the mean completion time; beyond hoursCap all are equally urgent, so that long
 * jobs go on together and none is left over to end alone. A fairness below 1 lets the first workers
 * of a job count for more than the last ones. `kept` is the part of the time that is left after a
 * move, 1 where nothing changes: a change must pay within the horizon. `efficiency` is what a batch
 * that nobody may change makes of its samples; it is 1 where the batch is chosen along with k.
 *
 * What it knows of a job: its length, as its owner declared it (steps, or epochs of the data); how
 * far it is; the model fitted to its own measured steps; its own gradient noise. Nothing of the
 * future, of other jobs' profiles, or of a job that never ran: that one gets its first worker before
 * all others, up to a node's worth where nobody else makes more of them (it is taken to scale like
 * k^0.7), and from then on at most `reach` times as many as it has been measured with. Where a move
 * is dear, a larger reach saves several of them.
 */

import { type Choice, divideWorkers } from "./divide-workers.ts";
import { placeWorkers } from "./place-workers.ts";
import type { Spread } from "./throughput.ts";

export interface Demand {
  /** Fewest workers that it can train with; 0 lets it wait. */
  readonly workersMin: number;
  /** Most workers that it may have now; see `workersReach`. */
  readonly workersMax: number;
  /** Node of each of its present workers. */
  readonly present: readonly number[];
  /** Base steps a second, predicted; undefined until it has been measured. */
  readonly goodput: ((spread: Spread) => number) | undefined;
  /** Base steps that are left. */
  readonly stepsLeft: number;
  /** What a change of its workers costs it. */
  readonly moveSeconds: number;
  /** Of a batch that stays as it is, against smaller ones; default 1. */
  readonly efficiency?: number;
}

export interface AllocationPolicy {
  readonly urgency: number;
  readonly hoursCap: number;
  readonly fairness: number;
  readonly horizonSeconds: number;
  /** How many times the workers that it was measured with a job may get at once: `workersReach`. */
  readonly reach: number;
}

export const defaultPolicy: AllocationPolicy = {
  urgency: 0.3,
  hoursCap: 3,
  fairness: 0.3,
  horizonSeconds: 300,
  reach: 4,
};

/** What the first worker of a job that was never measured is worth; one of an hour's job is worth 1. */
const unmeasuredWorth = 20;
/** How the speed of such a job is taken to grow with its workers. */
const assumedScaling = 0.7;

/** Explored carefully: at most so many times as many as were tried. */
export function workersReach(workersTried: number, reach: number): number {
  return Math.max(1, reach * workersTried);
}

/**
 * @param room how many workers each node holds
 * @returns node of each worker, for each job; none for a job that has to wait
 */
export function decideAllocation(
  demands: readonly Demand[],
  room: readonly number[],
  policy: AllocationPolicy = defaultPolicy,
): readonly (readonly number[])[] {
  const total = room.reduce((sum, count) => sum + count, 0);
  const perNode = Math.max(1, ...room);
  const choices = demands.map((demand) => choicesOf(demand, { total, perNode }, policy));
  const counts = divideWorkers(choices, total)!; // each may have none
  const jobs = demands.map(({ present }, job) => ({ present, workers: counts[job]! }));
  return placeWorkers(jobs, room);
}

export interface Size {
  readonly total: number;
  readonly perNode: number;
}

/** What each number of workers is worth for a job, as `divideWorkers` takes it. */
export function choicesOf(demand: Demand, size: Size, policy: AllocationPolicy): Choice[] {
  const { goodput, present, workersMin, efficiency = 1 } = demand;
  const none: readonly Choice[] = workersMin === 0 ? [{ workers: 0, worth: 0 }] : [];
  if (goodput === undefined) return [...none, ...firstChoicesOf(demand, size, policy)];
  const single = goodput({ nodes: 1, workers: 1 });
  const secondsLeft = demand.stepsLeft / single;
  const weight = Math.min(secondsLeft / 3600, policy.hoursCap) ** -policy.urgency;
  const counts = countsOf(demand, size.total).map((workers) => {
    const isSame = workers === present.length;
    const nodes = isSame ? new Set(present).size : Math.ceil(workers / size.perNode);
    const speedup = goodput({ nodes, workers }) / single;
    const kept = isSame ? 1 : keptOf(demand, secondsLeft / speedup, policy);
    return { workers, worth: weight * (speedup * efficiency * kept) ** policy.fairness };
  });
  return [...none, ...counts.filter(({ worth }) => worth > 0 || workersMin > 0)];
}

/** As a job of one hour, on a single node. */
function firstChoicesOf(demand: Demand, size: Size, { fairness }: AllocationPolicy): Choice[] {
  const workersMax = Math.max(demand.workersMin, Math.min(demand.workersMax, size.perNode));
  return countsOf({ ...demand, workersMax }, size.total).map((workers) => ({
    workers,
    worth: unmeasuredWorth + workers ** (assumedScaling * fairness) - 1,
  }));
}

function countsOf({ workersMin, workersMax }: Demand, total: number): number[] {
  const least = Math.max(1, workersMin);
  const most = Math.min(workersMax, total);
  return Array.from({ length: Math.max(0, most - least + 1) }, (_, index) => least + index);
}

/** The part of the horizon, or of what is left of the job, that a move leaves for training. */
function keptOf({ moveSeconds, present }: Demand, seconds: number, policy: AllocationPolicy) {
  if (present.length === 0) return 1; // It stands still: starting costs nothing that it has.
  const horizon = Math.max(1, Math.min(policy.horizonSeconds, seconds));
  return Math.max(0, 1 - moveSeconds / horizon);
}
