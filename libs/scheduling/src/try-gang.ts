/** Whether one waiting job may start now: its whole minimum, or nothing; and if not, why not. */
import { counted, engineText, isEngineAsked, type Job, needsGpu } from "@coxswain/domain";
import { coverAt, gangUnits } from "./cover.ts";
import { addWorker, askOf, type Cycle, type Draft, newDraft } from "./draft.ts";
import { type Claim, makeRoom } from "./make-room.ts";
import { type Shortage, shortageText } from "./quota.ts";
import type { Wait } from "./snapshot.ts";
import { gpuIndex, noUnits, scale, textOf } from "./vector.ts";

export type GangResult =
  | { readonly kind: "placed"; readonly draft: Draft }
  | { readonly kind: "wait"; readonly wait: Wait };

const wait = (reason: Wait["reason"], message: string): GangResult => ({
  kind: "wait",
  wait: { reason, message },
});

/** Places the gang in the cycle, taking room from others where its claim is better. */
export function tryGang(cycle: Cycle, job: Job): GangResult {
  const { state } = cycle;
  const impossible = whyImpossible(cycle, job);
  if (impossible !== undefined) return impossible;
  const engines = enginesFor(job, state.room.engines());
  const draftFor = (engine: Draft["engine"]): Draft => ({
    ...newDraft(job, []),
    engine,
    reason: `room for ${counted(job.spec.workers.min, "worker")}; engine ${engine!.name}, ${whyEngine(job)}`,
  });
  for (const engine of engines) {
    const draft = draftFor(engine);
    if (placeWhole(cycle, draft)) return { kind: "placed", draft };
  }
  for (const engine of engines) {
    const draft = draftFor(engine);
    if (makeRoom(cycle, claimOf(cycle, draft)) && placeWhole(cycle, draft))
      return { kind: "placed", draft };
  }
  return whyNow(cycle, draftFor(engines[0]));
}

/** What no other job's end would mend. */
function whyImpossible({ state }: Cycle, job: Job): GangResult | undefined {
  const { queue, workers, nodeSelector } = job.spec;
  const spec = state.quotas.specOf(queue);
  if (spec === undefined)
    return wait("Misconfigured", `Queue "${queue}" does not exist; an operator can configure it.`);
  if (spec.isStopped)
    return wait("OnHold", `Queue "${queue}" is stopped: none of its jobs starts.`);
  const { room } = state;
  const engines = room.engines();
  if (engines.length === 0)
    return wait("WaitingForNodes", `No node is ready for ${counted(workers.min, "worker")}.`);
  if (!engines.some((engine) => isAllowed(job, engine)))
    return wait(
      "NoMatchingEngine",
      `No node has engine ${job.engine?.identity ?? engineText(job.spec.engine)}.`,
    );
  if (!room.hasKind({ units: noUnits, selector: nodeSelector }))
    return wait("NoMatchingNodes", `No node has the labels ${selectorText(nodeSelector)}.`);
  const short = state.quotas.shortageWhenEmpty(queue, gangUnits(job));
  if (short !== undefined)
    return wait(
      "ExceedsMaxQuota",
      `The minimum of ${counted(workers.min, "worker")} exceeds all that queue "${queue}" may ever use, by ${shortageText(short)}.`,
    );
  return undefined;
}

const selectorText = (selector: Readonly<Record<string, string>> = {}) =>
  Object.entries(selector)
    .map(([key, value]) => `${key}=${value}`)
    .join(", ");

type Engine = NonNullable<Draft["engine"]>;

export function isAllowed(job: Job, engine: Engine): boolean {
  if (job.engine !== undefined) return job.engine.identity === engine.identity;
  const { engine: asked, resources } = job.spec;
  return isEngineAsked(asked, engine) && (resources.gpu > 0 || !needsGpu(engine.identity));
}

/** Those that the job may run on, best first: one that computes on the GPU that the job asks for. */
function enginesFor(job: Job, engines: readonly Engine[]): Engine[] {
  const allowed = engines.filter((engine) => isAllowed(job, engine));
  const [onGpu, others] = [true, false].map((wanted) =>
    allowed.filter(({ identity }) => needsGpu(identity) === wanted),
  );
  return [...onGpu!, ...others!];
}

function whyEngine(job: Job): string {
  if (job.engine !== undefined) return "which the job has been trained with";
  if (job.spec.engine !== "auto") return "which the job asks for";
  return "the best that nodes with room have";
}

/** Adds the whole minimum, or nothing. */
function placeWhole(cycle: Cycle, draft: Draft): boolean {
  const { ledger, quotas } = cycle.state;
  const { job } = draft;
  const { min } = job.spec.workers;
  if (quotas.shortage(job.spec.queue, gangUnits(job)) !== undefined) return false;
  const mark = ledger.mark();
  while (draft.workers.length < min && addWorker(cycle, draft));
  if (draft.workers.length === min) return true;
  ledger.rollback(mark);
  draft.workers = [];
  draft.added = 0;
  return false;
}

function claimOf(cycle: Cycle, draft: Draft): Claim {
  const { job } = draft;
  const { quotas, ledger } = cycle.state;
  const { queue, priority } = job.spec;
  const cohort = quotas.cohortOf(queue);
  const isCovered = coverAt(cycle, job);
  const ownIsCovered = isCovered(job);
  const fits = () => ledger.try(() => placeWhole(cycle, { ...draft, workers: [], added: 0 }));
  // When quota alone lacks, only those who use the same quota can give any.
  const isQuotaShort = quotas.shortage(queue, gangUnits(job)) !== undefined;
  const isRoomShort = isQuotaShort && fittingCount(cycle, draft) < job.spec.workers.min;
  const mayHelp = (victim: Job) =>
    !isQuotaShort ||
    isRoomShort ||
    victim.spec.queue === queue ||
    (cohort !== undefined && quotas.cohortOf(victim.spec.queue) === cohort);
  const borrowsWithSurplus = (victim: Job) => quotas.borrows(victim.spec.queue, noUnitsMore);
  return {
    by: job.id,
    reason: `job "${job.id}" ${ownIsCovered ? "has the better claim to" : "has a higher priority and needs"} the room`,
    newcomers: { ask: askOf(draft), count: job.spec.workers.min },
    mayShrink: (victim) =>
      mayHelp(victim) &&
      ((victim.spec.priority <= priority &&
        (ownIsCovered || victim.spec.queue === queue || !isCovered(victim))) ||
        (ownIsCovered && borrowsWithSurplus(victim))),
    mayEvict: (victim) => mayHelp(victim) && mayEvict(job, ownIsCovered, victim, isCovered(victim)),
    evictsBelow: priority,
    rankOf: (victim) => (isCovered(victim) ? 1 : 0),
    fits,
  };
}

/** One thousandth more of each: is the queue at or beyond its nominal quota? */
const noUnitsMore = noUnits.map(() => 1);

export function mayEvict(
  job: Job,
  isCovered: boolean,
  victim: Job,
  victimIsCovered: boolean,
): boolean {
  if (isCovered && !victimIsCovered) return true;
  return isCovered === victimIsCovered && victim.spec.priority < job.spec.priority;
}

/** How many of the gang's workers would find room now, quota aside. */
function fittingCount({ state }: Cycle, draft: Draft): number {
  const { ledger } = state;
  return ledger.try(() => {
    let count = 0;
    for (const { min } = draft.job.spec.workers; count < min; count += 1) {
      const node = state.nodeFor(askOf(draft));
      if (node === undefined) break;
      ledger.take(node.nodeId, undefined, draft.units);
    }
    return count;
  });
}

/** What lacks now, in numbers. */
function whyNow(cycle: Cycle, draft: Draft): GangResult {
  const { quotas, room } = cycle.state;
  const { job, units } = draft;
  const { queue, workers } = job.spec;
  const short = quotas.shortage(queue, gangUnits(job));
  if (short !== undefined) return wait("WaitingForQuota", quotaText(queue, short));
  const one = textOf(units);
  const gpus = units[gpuIndex]!;
  if (gpus > 0 && !room.hasMatch({ units: noUnits.with(gpuIndex, gpus) }))
    return wait("WaitingForNodes", `No node has ${gpus / scale} GPUs, which each worker needs.`);
  if (!room.hasMatch(askOf(draft)))
    return wait("WaitingForNodes", `No node is large enough for one worker of ${one}.`);
  return wait(
    "WaitingForRoom",
    `It needs ${counted(workers.min, "worker")} of ${one} at once; there is room for ${fittingCount(cycle, draft)}.`,
  );
}

function quotaText(queue: string, short: Shortage): string {
  const whose = short.isOfCohort ? `the cohort of queue "${queue}"` : `queue "${queue}"`;
  return `${shortageText(short)} more than the quota of ${whose} has left.`;
}
