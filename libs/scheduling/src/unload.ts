/**
 * Nodes on which more was given away than there is: a node that offers less than before, or two
 * schedulers that each gave away the last of it. Jobs shrink, or move a worker to another node, before
 * one is evicted: those of the lowest priority first, and among them who was placed last.
 */
import { addWorker, type Cycle, type Draft, draftOf, shrinkTo } from "./draft.ts";
import { byImportance, compareText, isActive } from "./snapshot.ts";

export function unload(cycle: Cycle): void {
  const { room } = cycle.state;
  for (const nodeId of [...room.overbooked].sort(compareText))
    while (room.overbooked.has(nodeId) && takeFrom(cycle, nodeId));
}

/** One worker, or a gang that cannot do without it. False: no job has anything there. */
function takeFrom(cycle: Cycle, nodeId: string): boolean {
  const victim = victimOn(cycle, nodeId);
  if (victim === undefined) return false;
  const reason = `node "${nodeId}" has less room than was given away`;
  if (isShrinkable(victim)) takeOne(cycle, victim, nodeId);
  else if (!moves(cycle, victim, nodeId)) {
    shrinkTo(cycle, victim, 0, reason);
    victim.evictedBy = { by: nodeId, reason };
  }
  victim.reason = reason;
  cycle.gives += 1;
  return true;
}

function takeOne(cycle: Cycle, victim: Draft, nodeId: string): void {
  const at = victim.workers.findLastIndex((worker) => worker.nodeId === nodeId);
  victim.workers.splice(at, 1);
  cycle.state.ledger.give(nodeId, victim.job.spec.queue, victim.units);
}

/** To another node, if one has room: the others of its gang go on. */
function moves(cycle: Cycle, victim: Draft, nodeId: string): boolean {
  const { ledger } = cycle.state;
  const mark = ledger.mark();
  const before = [...victim.workers];
  takeOne(cycle, victim, nodeId);
  if (addWorker(cycle, victim)) return true;
  ledger.rollback(mark);
  victim.workers = before;
  return false;
}

const isShrinkable = ({ job, workers }: Draft) => workers.length > job.spec.workers.min;

function victimOn(cycle: Cycle, nodeId: string): Draft | undefined {
  const { holders } = cycle.state;
  return [...holders.onNode(nodeId)]
    .map((jobId) => draftOf(cycle, jobId))
    .filter(({ job, workers }) => isActive(job) && workers.some((one) => one.nodeId === nodeId))
    .sort(byLoss)[0];
}

/** Who gives way first. */
function byLoss(a: Draft, b: Draft): number {
  return (
    Number(isShrinkable(b)) - Number(isShrinkable(a)) ||
    a.job.spec.priority - b.job.spec.priority ||
    (b.job.placedAtMs ?? 0) - (a.job.placedAtMs ?? 0) ||
    byImportance(b.job, a.job)
  );
}
