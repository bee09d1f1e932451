/**
 * What is left goes to running jobs that want more, and what is unfairly shared is shared anew.
 *
 * Workers that would stand by get what nobody else wants.
 *
 * Growth: one worker at a time, to the queue with the smallest weighted share, there to the job with
 * the fewest workers, then the more important. So equal jobs that grow come to differ by one worker
 * at most.
 *
 * Sharing anew: a job that wants more and finds no room takes a worker from the largest job of no
 * higher priority, if that stays at least as large after it. Each move makes the sum of the squares
 * of the sizes smaller, so moves come to an end; the freeze window bounds how often they happen. Who
 * has more than three quarters of the other's size takes nothing: each move disturbs two jobs, and
 * the next arrival would move on.
 */
import { type Job, wantedWorkers } from "@coxswain/domain";
import {
  addWorker,
  type Cycle,
  countOf,
  type Draft,
  draftOf,
  isHungry,
  lacksStandby,
  shrinkTo,
} from "./draft.ts";
import { isReplacementDue } from "./replacement.ts";
import { byImportance } from "./snapshot.ts";

/** A part of the donor's size with which the taker is content. */
const fairEnough = 0.75;

export function growAndShare(cycle: Cycle): void {
  const drafts = draftsThatLack(cycle);
  const left = grow(cycle, drafts.filter(isHungry), isHungry);
  for (const taker of left.sort(byNeed)) shareAnew(cycle, taker);
  grow(cycle, drafts.filter(lacksStandby), lacksStandby);
}

function isFrozen({ nowMs, state }: Cycle, sinceMs: number | undefined): boolean {
  return sinceMs !== undefined && nowMs - sinceMs < state.policy.freezeMs;
}

function draftsThatLack(cycle: Cycle): Draft[] {
  const { hungry } = cycle.state;
  const ids = new Set([...hungry, ...cycle.drafts.keys()]);
  const drafts: Draft[] = [];
  for (const jobId of ids) {
    const { job } = cycle.state.held.get(jobId)!;
    if (!isReplacementDue(job, cycle.nowMs) || isFrozen(cycle, job.shrunkAtMs)) continue;
    // Who gave something away in this cycle does not take it back in the same one.
    const known = cycle.drafts.get(jobId);
    if (known !== undefined && known.workers.length < known.job.placement.length - lost(known))
      continue;
    const draft = draftOf(cycle, jobId);
    if (lacksStandby(draft)) drafts.push(draft);
  }
  return drafts;
}

const lost = ({ declaredDead }: Draft) => declaredDead.length;

function byNeed(a: Draft, b: Draft): number {
  return a.workers.length - b.workers.length || byImportance(a.job, b.job);
}

/** Returns those who still want more. */
function grow(
  cycle: Cycle,
  drafts: readonly Draft[],
  wantsMore: (draft: Draft) => boolean,
): Draft[] {
  const { quotas, room } = cycle.state;
  const queues = new Map<string, Draft[]>();
  for (const draft of [...drafts].sort(byNeed)) {
    const { queue } = draft.job.spec;
    const line = queues.get(queue);
    if (line === undefined) queues.set(queue, [draft]);
    else line.push(draft);
  }
  const left: Draft[] = [];
  const full = new Set<string>();
  while (queues.size > 0) {
    const [queue] = [...queues.keys()]
      .map((name) => [name, quotas.shareOf(name, room.capacity)] as const)
      .reduce((least, one) =>
        one[1] < least[1] || (one[1] === least[1] && one[0] < least[0]) ? one : least,
      );
    const line = queues.get(queue)!;
    const draft = line.shift()!;
    const { shape } = cycle.state.held.get(draft.job.id)!;
    if (!full.has(shape) && addWorker(cycle, draft)) {
      draft.reason = draft.reason || "grows towards the wanted number of workers";
      if (wantsMore(draft)) insert(line, draft);
    } else {
      full.add(shape);
      left.push(draft);
    }
    if (line.length === 0) queues.delete(queue);
  }
  return left;
}

/** Keeps the line in order of need. */
function insert(line: Draft[], draft: Draft): void {
  let [low, high] = [0, line.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (byNeed(line[middle]!, draft) <= 0) low = middle + 1;
    else high = middle;
  }
  line.splice(low, 0, draft);
}

function shareAnew(cycle: Cycle, taker: Draft): void {
  if (isFrozen(cycle, taker.job.placedAtMs)) return;
  const refused = new Set<string>();
  while (isHungry(taker)) {
    const donor = donorFor(cycle, taker, refused);
    if (donor === undefined) return;
    refused.add(donor.id);
    if (moveWorker(cycle, donor, taker)) refused.delete(donor.id);
  }
}

function donorFor(cycle: Cycle, taker: Draft, refused: ReadonlySet<string>): Job | undefined {
  const { held, surplus } = cycle.state;
  let best: Job | undefined;
  let bestSize = 0;
  for (const jobId of surplus) {
    const { job } = held.get(jobId)!;
    const isMeant = jobId !== taker.job.id && !refused.has(jobId) && isDonor(cycle, job, taker);
    if (!isMeant) continue;
    const size = sizeOf(cycle, job, countOf(cycle, jobId));
    if (
      best !== undefined &&
      (size < bestSize || (size === bestSize && byImportance(job, best) < 0))
    )
      continue;
    best = job;
    bestSize = size;
  }
  return best;
}

/** Workers in proportion to the weight of the job's queue. */
function sizeOf({ state }: Cycle, job: Job, workers: number): number {
  return workers / (state.quotas.specOf(job.spec.queue)?.weight ?? 1);
}

function isDonor(cycle: Cycle, job: Job, taker: Draft): boolean {
  const known = cycle.drafts.get(job.id);
  const count = countOf(cycle, job.id);
  if (known?.evictedBy !== undefined || count <= job.spec.workers.min) return false;
  if (job.spec.priority > taker.job.spec.priority) return false;
  if (isFrozen(cycle, job.placedAtMs)) return false;
  // What it got in this cycle is not taken from it in the same one.
  if (known !== undefined && known.added > 0) return false;
  if (count > wantedWorkers(job)) return true; // Who stands by trains nothing.
  const { length } = taker.workers;
  if (sizeOf(cycle, taker.job, length) > fairEnough * sizeOf(cycle, job, count)) return false;
  return sizeOf(cycle, job, count - 1) >= sizeOf(cycle, taker.job, length + 1);
}

function moveWorker(cycle: Cycle, job: Job, taker: Draft): boolean {
  const { ledger } = cycle.state;
  const donor = draftOf(cycle, job.id);
  const mark = ledger.mark();
  const before = [...donor.workers];
  const { reason } = donor;
  shrinkTo(cycle, donor, donor.workers.length - 1, `shares fairly with job "${taker.job.id}"`);
  if (addWorker(cycle, taker)) {
    taker.reason = `gets its fair share from job "${job.id}"`;
    return true;
  }
  ledger.rollback(mark);
  donor.workers = before;
  donor.reason = reason;
  return false;
}
