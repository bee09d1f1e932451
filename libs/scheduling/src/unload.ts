/**
 * Nodes on which more was given away than there is: a node that offers less than before, or two
 * schedulers that each gave away the last of it. Whoever was placed last gives way; jobs shrink before
 * one is evicted, those of the lowest priority first.
 */
import type { Job } from "@coxswain/domain";
import { type Cycle, type Draft, draftOf, shrinkTo } from "./draft.ts";
import { byImportance, compareText } from "./snapshot.ts";

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
  if (isShrinkable(victim)) {
    const at = victim.workers.findLastIndex((worker) => worker.nodeId === nodeId);
    victim.workers.splice(at, 1);
    cycle.state.ledger.give(nodeId, victim.job.spec.queue, victim.units);
    victim.reason = reason;
  } else {
    shrinkTo(cycle, victim, 0, reason);
    victim.evictedBy = { by: nodeId, reason };
  }
  cycle.gives += 1;
  return true;
}

const isShrinkable = ({ job, workers }: Draft) => workers.length > job.spec.workers.min;

function victimOn(cycle: Cycle, nodeId: string): Draft | undefined {
  const { holders } = cycle.state;
  return [...holders.onNode(nodeId)]
    .map((jobId) => draftOf(cycle, jobId))
    .filter(({ job, workers }) => isActive(job) && workers.some((one) => one.nodeId === nodeId))
    .sort(byLoss)[0];
}

const isActive = ({ state }: Job) => state.kind === "placed" || state.kind === "running";

/** Who gives way first. */
function byLoss(a: Draft, b: Draft): number {
  return (
    Number(isShrinkable(b)) - Number(isShrinkable(a)) ||
    a.job.spec.priority - b.job.spec.priority ||
    (b.job.placedAtMs ?? 0) - (a.job.placedAtMs ?? 0) ||
    byImportance(b.job, a.job)
  );
}
