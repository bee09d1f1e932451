/** What a cycle makes of a job that holds room, or shall: changed freely, and forgotten afterwards. */
import { counted, type Job, wantedWorkers } from "@coxswain/domain";
import { isElastic } from "./arrivals.ts";
import type { ClusterState } from "./cluster-state.ts";
import { isReplacementDue } from "./replacement.ts";
import type { Ask } from "./room.ts";
import { byImportance, type PlacedWorker, placedWanted } from "./snapshot.ts";
import { type Units, unitsOf, vectorOf } from "./vector.ts";

export interface Draft {
  readonly job: Job;
  readonly units: Units;
  workers: PlacedWorker[];
  readonly declaredDead: readonly string[];
  engine: { readonly name: string; readonly identity: string } | undefined;
  reason: string;
  added: number;
  evictedBy: { readonly by: string; readonly reason: string } | undefined;
}

export interface Cycle {
  readonly state: ClusterState;
  readonly nowMs: number;
  /** Touched jobs that held room before; those who do not stand here stay as they are. */
  readonly drafts: Map<string, Draft>;
  /** Gangs that start in this cycle. */
  readonly placed: Draft[];
  /** Jobs come one after the other: see `arrivals.ts`. */
  isRestless: boolean;
  /** Goes up when room or quota is given back for somebody who waits. */
  gives: number;
}

export function newDraft(job: Job, workers: PlacedWorker[]): Draft {
  return {
    job,
    units: unitsOf(vectorOf(job.spec.resources)),
    workers,
    declaredDead: [],
    engine: job.engine,
    reason: "",
    added: 0,
    evictedBy: undefined,
  };
}

/** A job as it is, less its workers on nodes that are gone. */
export function draftOf(cycle: Cycle, jobId: string): Draft {
  const known = cycle.drafts.get(jobId);
  if (known !== undefined) return known;
  const { ledger, room, held } = cycle.state;
  const { job, units } = held.get(jobId)!;
  const dead = job.placement.filter(({ nodeId }) => !room.has(nodeId));
  for (const { nodeId } of dead) ledger.give(nodeId, job.spec.queue, units);
  const draft: Draft = {
    ...newDraft(
      job,
      job.placement.filter(({ nodeId }) => room.has(nodeId)),
    ),
    declaredDead: dead.map(({ workerId }) => workerId),
    reason: dead.length > 0 ? `${counted(dead.length, "worker")} on lost nodes` : "",
  };
  cycle.drafts.set(jobId, draft);
  return draft;
}

/** Workers that the job has at this point of the cycle. */
export function countOf(cycle: Cycle, jobId: string): number {
  const draft = cycle.drafts.get(jobId);
  return (draft?.workers ?? cycle.state.held.get(jobId)!.job.placement).length;
}

export function askOf({ job, units, engine }: Draft): Ask {
  return { units, engine: engine?.identity, selector: job.spec.nodeSelector };
}

/** One worker more, where quota and room allow it. Ids are functions of the job's last fact. */
export function addWorker({ state }: Cycle, draft: Draft): boolean {
  const { queue } = draft.job.spec;
  if (state.quotas.shortage(queue, draft.units) !== undefined) return false;
  const node = state.nodeFor(askOf(draft));
  if (node === undefined) return false;
  state.ledger.take(node.nodeId, queue, draft.units);
  const workerId = `w${draft.job.lastJobSequence}-${draft.added}`;
  draft.workers.push({ workerId, nodeId: node.nodeId });
  draft.added += 1;
  return true;
}

/** The youngest workers go first: the oldest hold the group's history. */
export function shrinkTo(cycle: Cycle, draft: Draft, count: number, reason: string): void {
  while (draft.workers.length > count)
    giveAway(cycle, draft, firstToGo(draft.job, draft.workers).at(-1)!, reason);
}

export function giveAway(
  { state }: Cycle,
  draft: Draft,
  { workerId, nodeId }: PlacedWorker,
  reason: string,
): void {
  const at = draft.workers.findIndex((worker) => worker.workerId === workerId);
  draft.workers.splice(at, 1);
  state.ledger.give(nodeId, draft.job.spec.queue, draft.units);
  draft.reason = reason;
}

/** Who stands by goes before who trains, unless more train than are wanted. */
export function firstToGo(job: Job, workers: readonly PlacedWorker[]): readonly PlacedWorker[] {
  if ((job.spec.workers.standby ?? 0) === 0) return workers;
  const trains = ({ workerId }: PlacedWorker) =>
    job.members.some((member) => member.workerId === workerId);
  const training = workers.filter(trains);
  const others = workers.filter((worker) => !trains(worker));
  const first = training.length > wantedWorkers(job) ? training : others;
  return first.length > 0 ? first : workers;
}

export function isHungry(draft: Draft): boolean {
  return lacks(draft, wantedWorkers(draft.job));
}

/** Nobody gives anything up for workers that would stand by. */
export function lacksStandby(draft: Draft): boolean {
  return lacks(draft, placedWanted(draft.job));
}

function lacks({ job, workers, evictedBy }: Draft, wanted: number): boolean {
  return job.state.kind === "running" && evictedBy === undefined && workers.length < wanted;
}

export function isFrozen({ nowMs, state }: Cycle, sinceMs: number | undefined): boolean {
  return sinceMs !== undefined && nowMs - sinceMs < state.policy.freezeMs;
}

export function isRestless({ state, nowMs, placed }: Cycle): boolean {
  const { count, newestMs } = state.holders.arrivals;
  const coming = placed.filter(({ job }) => isElastic(job)).length;
  return count + coming > 1 && (coming > 0 || nowMs - newestMs < state.policy.freezeMs);
}

/** How many workers a job may come to have now by growing. */
export function growsTo(cycle: Cycle, job: Job): number {
  if (!isReplacementDue(job, cycle.nowMs) || isFrozen(cycle, job.shrunkAtMs)) return 0;
  if (!cycle.isRestless) return Number.POSITIVE_INFINITY;
  return isFrozen(cycle, job.placedAtMs) ? 0 : 2 * job.placement.length;
}

/** Who gave something away in this cycle does not take it back in the same one. */
export function hasGiven({ job, workers, declaredDead }: Draft): boolean {
  return workers.length < job.placement.length - declaredDead.length;
}

export interface Need {
  readonly count: number;
  readonly job: Job;
}

/** The fewest workers first, then the more important. */
export function compareNeed(a: Need, b: Need): number {
  return a.count - b.count || byImportance(a.job, b.job);
}

export function isChanged({ job, workers, declaredDead }: Draft): boolean {
  if (declaredDead.length > 0 || workers.length !== job.placement.length) return true;
  return workers.some(({ workerId }, index) => job.placement[index]!.workerId !== workerId);
}
