/**
 * Which gangs a queue's own quota covers: in order of importance, each whose minimum still fits
 * under the nominal quota beside the covered ones before it. Who is not covered borrows.
 *
 * Preemption rests on it. A covered gang may evict one that borrows, or one of lower priority; a
 * gang that borrows may only evict one that borrows and has a lower priority. Write, for all jobs in
 * order of importance, a 1 for each that is placed and covered, and behind that a 1 for each that is
 * placed: every eviction makes this word greater, since what it takes away stands behind what it
 * adds. There are finitely many words, so without new jobs, nodes or quotas preemption ends.
 */
import type { Job } from "@coxswain/domain";
import type { Cycle } from "./draft.ts";
import { byImportance } from "./snapshot.ts";
import { isWithin, noUnits, sum, times, type Units, unitsOf, vectorOf } from "./vector.ts";

/** What a job holds that it never gives up by shrinking. */
export function gangUnits(job: Job): Units {
  return times(unitsOf(vectorOf(job.spec.resources)), job.spec.workers.min);
}

/** Ids of the covered ones among these gangs of one queue. */
export function coveredOf(gangs: readonly Job[], nominal: Units): ReadonlySet<string> {
  const covered = new Set<string>();
  let used = noUnits;
  for (const job of gangs.toSorted(byImportance)) {
    const withIt = sum(used, gangUnits(job));
    if (!isWithin(withIt, nominal)) continue;
    used = withIt;
    covered.add(job.id);
  }
  return covered;
}

/** Gangs of the queue that hold room at this point of the cycle. */
export function gangsOf(cycle: Cycle, queue: string): Job[] {
  const { held, holders } = cycle.state;
  const before = [...(holders.byQueue.get(queue) ?? [])]
    .filter((id) => cycle.drafts.get(id)?.evictedBy === undefined)
    .map((id) => held.get(id)!.job);
  return [
    ...before,
    ...cycle.placed.map(({ job }) => job).filter(({ spec }) => spec.queue === queue),
  ];
}

/** Answers, for one point of a cycle, whether a job's gang is covered; `candidate` as if placed. */
export function coverAt(cycle: Cycle, candidate: Job): (job: Job) => boolean {
  const { quotas } = cycle.state;
  const known = new Map<string, ReadonlySet<string>>();
  return (job) => {
    const { queue } = job.spec;
    if (!quotas.isLimited(queue)) return true;
    let covered = known.get(queue);
    if (covered === undefined) {
      const gangs = gangsOf(cycle, queue);
      if (queue === candidate.spec.queue) gangs.push(candidate);
      covered = coveredOf(gangs, quotas.nominalOf(queue));
      known.set(queue, covered);
    }
    return covered.has(job.id);
  };
}
