/**
 * What is unfairly shared is shared anew: a job that wants more and finds no room takes a worker from
 * the largest job of no higher priority, if that stays at least as large after it. Each move makes the
 * sum of the squares of the sizes smaller, so moves come to an end; the freeze window bounds how often
 * they happen. Who has more than half of the other's size takes nothing: each move disturbs
 * two jobs, and the next arrival would move on.
 */
import { type Job, wantedWorkers } from "@coxswain/domain";
import {
  addWorker,
  askOf,
  type Cycle,
  compareNeed,
  countOf,
  type Draft,
  draftOf,
  firstToGo,
  giveAway,
  growsTo,
  hasGiven,
  isFrozen,
  type Need,
} from "./draft.ts";
import type { JobGroup } from "./job-groups.ts";
import { bestToGo } from "./leaving.ts";
import { byImportance } from "./snapshot.ts";

/** A part of the donor's size with which the taker is content. */
const fairEnough = 0.5;

/** Who takes, as far as it matters for who gives. */
interface Taker {
  readonly jobId: string;
  readonly queue: string;
  readonly priority: number;
  readonly count: number;
}

/** `left`: touched jobs that found no room; hungry ones that were not touched come to them. */
export function shareAnew(cycle: Cycle, left: readonly Draft[]): void {
  const touched = left
    .filter(({ job }) => !isFrozen(cycle, job.placedAtMs))
    .map(({ job, workers }) => ({ job, count: workers.length }));
  const takers = [...touched, ...untouchedTakers(cycle)];
  /** Alike ones that nobody can give anything, until somebody has moved. */
  const refusals = new Set<string>();
  for (const { job } of takers.sort(compareNeed)) takeFor(cycle, job, refusals);
}

/** Hungry ones of groups that find a donor. */
function untouchedTakers(cycle: Cycle): Need[] {
  const { takers } = cycle.state.holders;
  return [...takers.byQueue.values()]
    .flatMap((groups) => [...groups.values()])
    .filter((group) => !group.isServed && mayFindDonor(cycle, group))
    .flatMap(({ jobs, count }) =>
      jobs
        .map(({ id }) => cycle.state.held.get(id)!.job)
        .filter((job) => !cycle.drafts.has(job.id) && !isFrozen(cycle, job.placedAtMs))
        .filter((job) => count < growsTo(cycle, job))
        .map((job) => ({ job, count })),
    );
}

function takeFor(cycle: Cycle, job: Job, refusals: Set<string>): void {
  const { shape } = cycle.state.held.get(job.id)!;
  const known = cycle.drafts.get(job.id);
  if (known !== undefined && hasGiven(known)) return;
  const refused = new Set<string>();
  const most = Math.min(wantedWorkers(job), growsTo(cycle, job));
  for (let moves = 0, count = countOf(cycle, job.id); count < most; count += 1) {
    const taker = takerOf(job, count);
    const alike = JSON.stringify([shape, taker.priority, count]);
    if (moves === 0 && refusals.has(alike)) return;
    const isServed = takeOne(cycle, taker, refused);
    if (!isServed && moves === 0) refusals.add(alike);
    if (!isServed) return;
    moves += 1;
    refusals.clear();
  }
}

const takerOf = ({ id, spec }: Job, count: number): Taker => ({
  jobId: id,
  queue: spec.queue,
  priority: spec.priority,
  count,
});

/** From the largest donor of which it can use a worker. */
function takeOne(cycle: Cycle, taker: Taker, refused: Set<string>): boolean {
  for (;;) {
    const donor = donorFor(cycle, taker, refused);
    if (donor === undefined) return false;
    if (moveWorker(cycle, donor, taker.jobId)) return true;
    refused.add(donor.id);
  }
}

function mayFindDonor(cycle: Cycle, { queue, priority, count }: JobGroup): boolean {
  const taker = { jobId: "", queue, priority, count };
  return donorFor(cycle, taker, new Set()) !== undefined;
}

/** The largest who may give; of equal ones the least important. */
function donorFor(cycle: Cycle, taker: Taker, refused: ReadonlySet<string>): Job | undefined {
  const { drafts, state } = cycle;
  let best: { readonly job: Job; readonly size: number } | undefined;
  const consider = (job: Job, size: number) => {
    const isBetter =
      best === undefined ||
      size > best.size ||
      (size === best.size && byImportance(job, best.job) > 0);
    if (isBetter) best = { job, size };
  };
  for (const draft of drafts.values())
    if (!refused.has(draft.job.id) && isDonor(cycle, draft, taker))
      consider(draft.job, sizeOf(cycle, draft.job.spec.queue, draft.workers.length));
  for (const groups of state.holders.donors.byQueue.values())
    for (const group of groups.values()) {
      const size = sizeOf(cycle, group.queue, group.count);
      if ((best !== undefined && size < best.size) || !mayGive(cycle, group, taker)) continue;
      const job = youngestOf(cycle, group, (id) => id !== taker.jobId && !refused.has(id));
      if (job !== undefined) consider(job, size);
    }
  return best?.job;
}

/** Of those that were not touched, and have not just been placed. */
function youngestOf(
  cycle: Cycle,
  { jobs }: JobGroup,
  isMeant: (jobId: string) => boolean,
): Job | undefined {
  for (let at = jobs.length - 1; at >= 0; at -= 1) {
    const { id } = jobs[at]!;
    const { job } = cycle.state.held.get(id)!;
    if (!cycle.drafts.has(id) && isMeant(id) && !isFrozen(cycle, job.placedAtMs)) return job;
  }
  return undefined;
}

/** Workers in proportion to the weight of the queue. */
function sizeOf({ state }: Cycle, queue: string, workers: number): number {
  return workers / (state.quotas.specOf(queue)?.weight ?? 1);
}

function isDonor(cycle: Cycle, draft: Draft, taker: Taker): boolean {
  const { job, workers, evictedBy, added } = draft;
  if (job.id === taker.jobId || evictedBy !== undefined) return false;
  // What it got in this cycle is not taken from it in the same one.
  if (added > 0 || isFrozen(cycle, job.placedAtMs)) return false;
  if (!cycle.state.holders.surplus.has(job.id) || workers.length <= job.spec.workers.min)
    return false;
  const { queue, priority } = job.spec;
  const count = workers.length;
  return mayGive(cycle, { queue, priority, count, isBeyond: count > wantedWorkers(job) }, taker);
}

function mayGive(
  cycle: Cycle,
  donor: Pick<JobGroup, "queue" | "priority" | "count" | "isBeyond">,
  taker: Taker,
): boolean {
  if (donor.priority > taker.priority) return false;
  if (donor.isBeyond) return true; // Who stands by trains nothing.
  const size = sizeOf(cycle, taker.queue, taker.count);
  if (size > fairEnough * sizeOf(cycle, donor.queue, donor.count)) return false;
  return sizeOf(cycle, donor.queue, donor.count - 1) >= sizeOf(cycle, taker.queue, taker.count + 1);
}

function moveWorker(cycle: Cycle, job: Job, takerId: string): boolean {
  const { ledger } = cycle.state;
  const known = [job.id, takerId].filter((id) => cycle.drafts.has(id));
  const donor = draftOf(cycle, job.id);
  const taker = draftOf(cycle, takerId);
  const mark = ledger.mark();
  const before = [...donor.workers];
  const { reason } = donor;
  const workers = firstToGo(job, donor.workers);
  const leavers = { workers, units: donor.units, spareOn: () => 1 };
  const goes = bestToGo(cycle.state.room, leavers, { ask: askOf(taker), count: 1 });
  giveAway(cycle, donor, goes, `shares fairly with job "${takerId}"`);
  if (addWorker(cycle, taker)) {
    taker.reason = `gets its fair share from job "${job.id}"`;
    return true;
  }
  ledger.rollback(mark);
  donor.workers = before;
  donor.reason = reason;
  for (const id of [job.id, takerId]) if (!known.includes(id)) cycle.drafts.delete(id);
  return false;
}
