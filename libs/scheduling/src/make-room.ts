/**
 * Taking room from jobs for whoever has the better claim: shrink before evict, and nothing in vain.
 *
 * First every job that may be shrunk gives workers above its minimum, those of the lowest priority
 * first, and among them the largest. Only then jobs are evicted: who is beyond its queue's quota
 * first, then the lowest priority, then who loses the least work (the youngest checkpoint), then the
 * youngest. Of the fewest steps, in this order, after which the claim fits, those that turn out not
 * to be needed are left out again.
 */
import type { Job } from "@coxswain/domain";
import { type Cycle, countOf, draftOf, firstToGo, giveAway, shrinkTo } from "./draft.ts";
import { bestToGo, type Newcomers } from "./leaving.ts";
import { byImportance, isActive, type PlacedWorker } from "./snapshot.ts";

export interface Claim {
  /** The job, or `service NAME`. */
  readonly by: string;
  readonly reason: string;
  /** For whom the room is. */
  readonly newcomers: Newcomers;
  readonly mayShrink: (victim: Job) => boolean;
  readonly mayEvict: (victim: Job) => boolean;
  /** Of this priority and above only jobs of queues with a quota can be evicted. */
  readonly evictsBelow: number;
  /** Who is evicted first, before priority; lower first. */
  readonly rankOf: (victim: Job) => number;
  /** Whether the claim could be satisfied as things are; leaves no trace. */
  readonly fits: () => boolean;
}

type Step =
  | { readonly kind: "shrink"; readonly jobId: string; readonly worker: PlacedWorker }
  | { readonly kind: "evict"; readonly jobId: string };

/** Steps beyond which those that are not needed are no longer looked for. */
const pruneMax = 256;

/** Makes room for the claim if that is possible. Returns whether it fits now. */
export function makeRoom(cycle: Cycle, claim: Claim): boolean {
  const givers = giversOf(cycle, claim);
  const evictions = evictSteps(cycle, claim);
  if (givers.length + evictions.length === 0) return false;
  const steps =
    shrinksFor(cycle, claim, givers) ??
    leastOf(cycle, [...youngest(cycle, givers), ...evictions], claim);
  if (steps === undefined) return false;
  for (const step of prune(cycle, steps, claim)) {
    const victim = draftOf(cycle, step.jobId);
    if (step.kind === "shrink") giveAway(cycle, victim, step.worker, claim.reason);
    else {
      shrinkTo(cycle, victim, 0, claim.reason);
      victim.evictedBy = { by: claim.by, reason: claim.reason };
    }
  }
  cycle.gives += 1;
  return true;
}

/** The fewest of the steps, in their order, after which the claim fits. */
function leastOf(cycle: Cycle, steps: readonly Step[], claim: Claim): readonly Step[] | undefined {
  if (!fitsAfter(cycle, steps, claim)) return undefined;
  let [low, high] = [1, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (fitsAfter(cycle, steps.slice(0, middle), claim)) high = middle;
    else low = middle + 1;
  }
  return steps.slice(0, low);
}

/** Of each that gives the workers that help most, no more than are needed; undefined: not enough. */
function shrinksFor(
  cycle: Cycle,
  claim: Claim,
  givers: readonly string[],
): readonly Step[] | undefined {
  const { ledger, room, held } = cycle.state;
  const left = new Map([...new Set(givers)].map((id) => [id, workersOf(cycle, id)]));
  const spare = spareByNode(left.values());
  const spareOn = (nodeId: string) => spare.get(nodeId)!;
  const steps: Step[] = [];
  const isEnough = ledger.try(() => {
    let lookAt = 1;
    for (const jobId of givers) {
      const { job, units } = held.get(jobId)!;
      const workers = firstToGo(job, left.get(jobId)!);
      const worker = bestToGo(room, { workers, units, spareOn }, claim.newcomers);
      left.set(jobId, without(left.get(jobId)!, worker));
      spare.set(worker.nodeId, spareOn(worker.nodeId) - 1);
      ledger.give(worker.nodeId, job.spec.queue, units);
      steps.push({ kind: "shrink", jobId, worker });
      if (steps.length < lookAt && steps.length < givers.length) continue;
      if (claim.fits()) return true;
      lookAt *= 2;
    }
    return false;
  });
  return isEnough ? leastOf(cycle, steps, claim) : undefined;
}

function spareByNode(all: Iterable<readonly PlacedWorker[]>): Map<string, number> {
  const spare = new Map<string, number>();
  for (const workers of all)
    for (const { nodeId } of workers) spare.set(nodeId, (spare.get(nodeId) ?? 0) + 1);
  return spare;
}

const without = (workers: readonly PlacedWorker[], gone: PlacedWorker) =>
  workers.filter((worker) => worker !== gone);

/** Of each that gives the first to go. */
function youngest(cycle: Cycle, givers: readonly string[]): Step[] {
  const left = new Map<string, readonly PlacedWorker[]>();
  return givers.map((jobId) => {
    const workers = left.get(jobId) ?? workersOf(cycle, jobId);
    const worker = firstToGo(cycle.state.held.get(jobId)!.job, workers).at(-1)!;
    left.set(jobId, without(workers, worker));
    return { kind: "shrink", jobId, worker };
  });
}

const workersOf = (cycle: Cycle, jobId: string): readonly PlacedWorker[] =>
  cycle.drafts.get(jobId)?.workers ?? cycle.state.held.get(jobId)!.job.placement;

function prune(cycle: Cycle, steps: readonly Step[], claim: Claim): readonly Step[] {
  let kept = steps;
  // The dearest first: evictions stand last.
  for (let index = steps.length - 2; index >= 0 && steps.length <= pruneMax; index -= 1) {
    const fewer = kept.filter((step) => step !== steps[index]);
    if (fitsAfter(cycle, fewer, claim)) kept = fewer;
  }
  const gone = new Set(kept.filter(({ kind }) => kind === "evict").map(({ jobId }) => jobId));
  return kept.filter(({ kind, jobId }) => kind === "evict" || !gone.has(jobId));
}

function fitsAfter(cycle: Cycle, steps: readonly Step[], claim: Claim): boolean {
  const { ledger, held } = cycle.state;
  return ledger.try(() => {
    const left = new Map<string, Set<PlacedWorker>>();
    for (const step of steps) {
      const { job, units } = held.get(step.jobId)!;
      const workers = left.get(step.jobId) ?? new Set(workersOf(cycle, step.jobId));
      left.set(step.jobId, workers);
      for (const worker of step.kind === "shrink" ? [step.worker] : workers) {
        workers.delete(worker);
        ledger.give(worker.nodeId, job.spec.queue, units);
      }
    }
    return claim.fits();
  });
}

function isThere(cycle: Cycle, job: Job): boolean {
  return isActive(job) && cycle.drafts.get(job.id)?.evictedBy === undefined;
}

/** Who gives, once for each worker that it can spare: in this order. */
function giversOf(cycle: Cycle, claim: Claim): string[] {
  const { held } = cycle.state;
  const { surplus } = cycle.state.holders;
  const steps: { readonly job: Job; readonly count: number }[] = [];
  for (const jobId of surplus) {
    const { job } = held.get(jobId)!;
    if (!isThere(cycle, job) || !claim.mayShrink(job)) continue;
    for (let count = countOf(cycle, jobId); count > job.spec.workers.min; count -= 1)
      steps.push({ job, count });
  }
  steps.sort(
    (a, b) =>
      a.job.spec.priority - b.job.spec.priority || b.count - a.count || -byImportance(a.job, b.job),
  );
  return steps.map(({ job }) => job.id);
}

/** Few of many, most often: nobody is asked whose answer is known. */
function* evictable({ state }: Cycle, { evictsBelow }: Claim): Iterable<string> {
  const { held, holders, quotas } = state;
  for (const [priority, ids] of holders.byPriority) if (priority < evictsBelow) yield* ids;
  for (const [queue, ids] of holders.byQueue)
    if (quotas.isLimited(queue))
      for (const id of ids) if (held.get(id)!.job.spec.priority >= evictsBelow) yield id;
}

function evictSteps(cycle: Cycle, claim: Claim): Step[] {
  const victims: Job[] = [];
  for (const jobId of evictable(cycle, claim)) {
    const { job } = cycle.state.held.get(jobId)!;
    if (isThere(cycle, job) && countOf(cycle, jobId) > 0 && claim.mayEvict(job)) victims.push(job);
  }
  victims.sort(
    (a, b) =>
      claim.rankOf(a) - claim.rankOf(b) ||
      a.spec.priority - b.spec.priority ||
      lostMsOf(a) - lostMsOf(b) ||
      -byImportance(a, b),
  );
  return victims.map(({ id }) => ({ jobId: id, kind: "evict" }));
}

/** Work since the last checkpoint, at the present pace: what an eviction may cost. */
export function lostMsOf({ progress, checkpoints }: Job): number {
  if (progress === undefined) return 0;
  return Math.max(0, progress.step - (checkpoints.at(-1)?.step ?? 0)) * progress.stepMs;
}
