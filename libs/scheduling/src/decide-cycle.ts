/**
 * One cycle over a cluster's state: who runs where, who waits and why, and who has ended.
 *
 * 1. What has ended is ended: finished, stopped, failed, over its time limit. What shall stop does not
 *    wait for workers on lost nodes.
 * 2. Workers on lost nodes are given up; jobs with more workers than are wanted give them back; nodes
 *    that hold more than they have are relieved (`unload.ts`).
 * 3. Online services get their room; jobs shrink for them, then are evicted.
 * 4. Running jobs that lack workers below their minimum are filled up: they hold a place already.
 * 5. Waiting jobs, each its minimum or nothing (`gangs.ts`), with room from others (`make-room.ts`).
 * 6. What is left goes to running jobs that want more; what is unfairly shared is shared anew.
 *
 * The same state always gives the same decisions, and stays as it was: whoever carries decisions
 * out tells the state what became of the jobs.
 */
import { counted } from "@coxswain/domain";
import type { ClusterState } from "./cluster-state.ts";
import { addWorker, type Cycle, type Draft, draftOf, isChanged, shrinkTo } from "./draft.ts";
import { placeGangs } from "./gangs.ts";
import { growAndShare } from "./grow.ts";
import type { PendingClass } from "./pending.ts";
import { isReplacementDue } from "./replacement.ts";
import { reserveForServices } from "./reserve.ts";
import {
  byImportance,
  compareText,
  type Decision,
  isActive,
  type JobDecision,
  placedWanted,
  type Wait,
} from "./snapshot.ts";
import { unload } from "./unload.ts";

export function decideCycle(state: ClusterState, nowMs: number): Decision[] {
  state.advance(nowMs);
  const cycle: Cycle = { state, nowMs, drafts: new Map(), placed: [], isRestless: false, gives: 0 };
  const mark = state.ledger.mark();
  try {
    mend(cycle);
    unload(cycle);
    const reserved = reserveForServices(cycle);
    fillUp(cycle);
    const waits = placeGangs(cycle);
    growAndShare(cycle);
    return [
      ...byJob([...state.ending.values(), ...lostWhileStopping(state)]),
      ...preemptions(cycle),
      ...changes(cycle),
      ...reserved,
      ...tell(cycle, waits),
    ];
  } finally {
    state.ledger.rollback(mark);
  }
}

const byJob = <One extends { readonly jobId: string }>(decisions: One[]): One[] =>
  decisions.sort((a, b) => compareText(a.jobId, b.jobId));

/** Nobody else would say that these have stopped. */
function lostWhileStopping({ stopping, room }: ClusterState): JobDecision[] {
  return [...stopping.values()].flatMap(({ id, placement, engine }): JobDecision[] => {
    const dead = placement.filter(({ nodeId }) => !room.has(nodeId));
    if (dead.length === 0) return [];
    const workers = placement.filter(({ nodeId }) => room.has(nodeId));
    const declaredDead = dead.map(({ workerId }) => workerId);
    const reason = `${counted(dead.length, "worker")} on lost nodes`;
    return [{ kind: "place", jobId: id, workers, engine: engine!, reason, declaredDead }];
  });
}

function mend(cycle: Cycle): void {
  const { troubled, over } = cycle.state.holders;
  for (const jobId of new Set([...troubled, ...over])) {
    const draft = draftOf(cycle, jobId);
    const wanted = placedWanted(draft.job);
    if (over.has(jobId)) shrinkTo(cycle, draft, wanted, `${counted(wanted, "worker")} wanted`);
  }
}

function fillUp(cycle: Cycle): void {
  const short = [...cycle.drafts.values()]
    .filter(
      ({ job, evictedBy }) =>
        isActive(job) && evictedBy === undefined && isReplacementDue(job, cycle.nowMs),
    )
    .sort((a, b) => byImportance(a.job, b.job));
  for (const draft of short) {
    while (draft.workers.length < draft.job.spec.workers.min && addWorker(cycle, draft))
      draft.reason = "replaces lost workers";
  }
}

function preemptions({ drafts }: Cycle): JobDecision[] {
  const found: (JobDecision & { readonly kind: "preempt" })[] = [];
  for (const { job, evictedBy } of drafts.values())
    if (evictedBy !== undefined) found.push({ kind: "preempt", jobId: job.id, ...evictedBy });
  return byJob(found);
}

/** Who gives comes before who gets. */
function changes({ drafts, placed }: Cycle): JobDecision[] {
  const changed = [...drafts.values()]
    .filter((draft) => draft.evictedBy === undefined && isChanged(draft))
    .map(placeDecision)
    .sort((a, b) => compareText(a.jobId, b.jobId));
  return [...changed, ...placed.map(placeDecision)];
}

function placeDecision({ job, workers, engine, reason, declaredDead }: Draft) {
  return { kind: "place", jobId: job.id, workers, engine: engine!, reason, declaredDead } as const;
}

/** The same reason is not said again to the same job. */
function tell(cycle: Cycle, waits: ReadonlyMap<PendingClass, Wait>): JobDecision[] {
  const { pending, delayed } = cycle.state;
  const placed = new Set(cycle.placed.map(({ job }) => job.id));
  const news: (JobDecision & { readonly kind: "queue" })[] = [];
  for (const [one, wait] of waits) {
    for (const [reason, ids] of one.told) {
      if (reason === wait.reason) continue;
      for (const jobId of ids) {
        if (placed.has(jobId)) continue;
        const position = pending.positionOf(pending.jobOf(jobId)!);
        news.push({ kind: "queue", jobId, position, ...wait });
      }
    }
  }
  for (const { job } of delayed.values()) {
    if (job.state.kind === "queued" && job.state.reason === "PendingEvaluation") continue;
    const message = "Workers were lost; the job starts again after a pause.";
    news.push({ kind: "queue", jobId: job.id, reason: "PendingEvaluation", message, position: 1 });
  }
  return byJob(news);
}
