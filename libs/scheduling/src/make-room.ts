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
import { type Cycle, countOf, draftOf, shrinkTo } from "./draft.ts";
import { byImportance, isActive } from "./snapshot.ts";

export interface Claim {
  /** The job, or `service NAME`. */
  readonly by: string;
  readonly reason: string;
  readonly mayShrink: (victim: Job) => boolean;
  readonly mayEvict: (victim: Job) => boolean;
  /** Of this priority and above only jobs of queues with a quota can be evicted. */
  readonly evictsBelow: number;
  /** Who is evicted first, before priority; lower first. */
  readonly rankOf: (victim: Job) => number;
  /** Whether the claim could be satisfied as things are; leaves no trace. */
  readonly fits: () => boolean;
}

interface Step {
  readonly jobId: string;
  readonly kind: "shrink" | "evict";
}

/** Steps beyond which those that are not needed are no longer looked for. */
const pruneMax = 256;

/** Makes room for the claim if that is possible. Returns whether it fits now. */
export function makeRoom(cycle: Cycle, claim: Claim): boolean {
  const steps = [...shrinkSteps(cycle, claim), ...evictSteps(cycle, claim)];
  if (steps.length === 0 || !fitsAfter(cycle, steps, claim)) return false;
  let [low, high] = [1, steps.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (fitsAfter(cycle, steps.slice(0, middle), claim)) high = middle;
    else low = middle + 1;
  }
  for (const { jobId, kind } of prune(cycle, steps.slice(0, low), claim)) {
    const victim = draftOf(cycle, jobId);
    shrinkTo(cycle, victim, kind === "evict" ? 0 : victim.workers.length - 1, claim.reason);
    if (kind === "evict") victim.evictedBy = { by: claim.by, reason: claim.reason };
  }
  cycle.gives += 1;
  return true;
}

function prune(cycle: Cycle, steps: readonly Step[], claim: Claim): readonly Step[] {
  let kept = steps;
  const evicted = () => new Set(kept.filter(({ kind }) => kind === "evict").map((s) => s.jobId));
  // The dearest first: evictions stand last.
  for (let index = steps.length - 2; index >= 0 && steps.length <= pruneMax; index -= 1) {
    const without = kept.filter((step) => step !== steps[index]);
    if (fitsAfter(cycle, without, claim)) kept = without;
  }
  const gone = evicted();
  return kept.filter(({ kind, jobId }) => kind === "evict" || !gone.has(jobId));
}

function fitsAfter(cycle: Cycle, steps: readonly Step[], claim: Claim): boolean {
  const { ledger, held } = cycle.state;
  return ledger.try(() => {
    const left = new Map<string, number>();
    for (const { jobId, kind } of steps) {
      const workers = cycle.drafts.get(jobId)?.workers ?? held.get(jobId)!.job.placement;
      const { job, units } = held.get(jobId)!;
      const count = left.get(jobId) ?? workers.length;
      const to = kind === "evict" ? 0 : Math.max(0, count - 1);
      for (const { nodeId } of workers.slice(to, count)) ledger.give(nodeId, job.spec.queue, units);
      left.set(jobId, to);
    }
    return claim.fits();
  });
}

function isThere(cycle: Cycle, job: Job): boolean {
  return isActive(job) && cycle.drafts.get(job.id)?.evictedBy === undefined;
}

function shrinkSteps(cycle: Cycle, claim: Claim): Step[] {
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
  return steps.map(({ job }) => ({ jobId: job.id, kind: "shrink" }));
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
