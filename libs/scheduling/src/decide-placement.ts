/**
 * Decides, for every job, who runs where, who waits and why, and who has ended.
 *
 * 1. What has ended is ended: finished, stopped, failed, over its time limit.
 * 2. Running jobs keep their workers; those on lost nodes are given up. A running job that lacks
 *    workers below its minimum is filled up first: it holds a place already.
 * 3. Waiting jobs by priority, then age, each its minimum or nothing (a gang). A job that does not
 *    fit lets a smaller one pass. Where room lacks, jobs of lower priority shrink to their minimum,
 *    then the lowest and youngest are preempted, but only if the gang then fits.
 * 4. What is left goes to running jobs that want more, one worker each in turn.
 *
 * The same snapshot always gives the same decisions; ties go to the lower id.
 */
import { isEnded, type Job } from "@coxswain/domain";
import { decideEnd } from "./decide-end.ts";
import { Room } from "./room.ts";
import {
  compareText,
  type Decision,
  type PlacedWorker,
  type Snapshot,
  type Vector,
  vectorOf,
} from "./snapshot.ts";

/** After a loss the replacement waits so long, doubled for each loss in a row. */
const replaceDelayMs = 100;
const replaceDelayMsMax = 10_000;

interface Draft {
  readonly job: Job;
  readonly need: Vector;
  workers: PlacedWorker[];
  readonly declaredDead: string[];
  engine: { readonly name: string; readonly identity: string } | undefined;
  reason: string;
  added: number;
}

export function decidePlacement(snapshot: Snapshot): Decision[] {
  const ends: Decision[] = [];
  const active: Job[] = [];
  for (const job of snapshot.jobs.toSorted((a, b) => compareText(a.id, b.id))) {
    if (isEnded(job)) continue;
    const end = decideEnd(job, snapshot.nowMs);
    if (end === undefined) active.push(job);
    else ends.push(end);
  }
  const room = new Room(snapshot.nodes);
  const drafts = active.filter(holdsRoom).map((job) => draftOf(job, room));
  for (const draft of drafts) for (const { nodeId } of draft.workers) room.take(nodeId, draft.need);

  const running = drafts.filter(
    ({ job }) => job.state.kind === "placed" || job.state.kind === "running",
  );
  for (const draft of running.toSorted(byImportance))
    fillUp(draft, draft.job.spec.workers.min, room, snapshot);
  shrinkToWanted(running, room);
  const { placed, waits, preempted } = placeGangs(
    active.filter(({ state }) => state.kind === "queued"),
    running,
    room,
    snapshot,
  );
  grow(
    running.filter(({ job }) => job.state.kind === "running" && !preempted.has(job.id)),
    room,
    snapshot,
  );

  const stays = drafts.filter(({ job }) => !preempted.has(job.id));
  const changes = [...stays.filter(isChanged), ...placed].map(placeDecision);
  const preemptions = [...preempted].map(
    ([jobId, by]): Decision => ({
      kind: "preempt",
      jobId,
      by,
      reason: `job "${by}" has a higher priority and needs the room`,
    }),
  );
  return [...ends, ...preemptions, ...changes, ...waits];
}

function holdsRoom({ state }: Job): boolean {
  return state.kind === "placed" || state.kind === "running" || state.kind === "finishing";
}

/** Higher priority first, then the older, then the lower id. */
function byImportance(a: { readonly job: Job }, b: { readonly job: Job }): number {
  return (
    b.job.spec.priority - a.job.spec.priority ||
    a.job.submittedAtMs - b.job.submittedAtMs ||
    compareText(a.job.id, b.job.id)
  );
}

/** A job as it is, less its workers on nodes that are gone. */
function draftOf(job: Job, room: Room): Draft {
  const dead = job.placement
    .filter(({ nodeId }) => !room.has(nodeId))
    .map(({ workerId }) => workerId);
  return {
    job,
    need: vectorOf(job.spec.resources),
    workers: job.placement.filter(({ nodeId }) => room.has(nodeId)),
    declaredDead: dead,
    engine: job.engine,
    reason: dead.length > 0 ? `${dead.length} workers were on lost nodes` : "",
    added: 0,
  };
}

/** Workers that a job shall have: what was asked for, within its limits. */
export function wantedWorkers(job: Job): number {
  const { min, max } = job.spec.workers;
  return Math.min(max, Math.max(min, job.workersWanted ?? max));
}

function isReplacementDue(job: Job, nowMs: number): boolean {
  const last = job.ended.at(-1);
  if (job.lossesInARow === 0 || last === undefined) return true;
  const delayMs = Math.min(replaceDelayMsMax, replaceDelayMs * 2 ** (job.lossesInARow - 1));
  return nowMs - last.atMs >= delayMs;
}

function add(draft: Draft, room: Room, snapshot: Snapshot): boolean {
  const node = room.bestFit(draft.need, draft.engine?.identity);
  if (node === undefined) return false;
  room.take(node.nodeId, draft.need);
  draft.workers = [
    ...draft.workers,
    { workerId: snapshot.newWorkerId(draft.job, draft.added), nodeId: node.nodeId },
  ];
  draft.added += 1;
  return true;
}

function fillUp(draft: Draft, count: number, room: Room, snapshot: Snapshot): void {
  if (draft.workers.length >= count || !isReplacementDue(draft.job, snapshot.nowMs)) return;
  while (draft.workers.length < count && add(draft, room, snapshot))
    draft.reason = "replaces lost workers";
}

/** The youngest workers go first: the oldest hold the group's history. */
function shrinkTo(draft: Draft, count: number, room: Room, reason: string): void {
  while (draft.workers.length > count) {
    const gone = draft.workers.at(-1)!;
    draft.workers = draft.workers.slice(0, -1);
    room.give(gone.nodeId, draft.need);
    draft.reason = reason;
  }
}

function shrinkToWanted(running: readonly Draft[], room: Room): void {
  for (const draft of running) {
    const wanted = wantedWorkers(draft.job);
    shrinkTo(draft, wanted, room, `${wanted} workers are wanted`);
  }
}

function placeGangs(
  queued: readonly Job[],
  running: readonly Draft[],
  room: Room,
  snapshot: Snapshot,
) {
  const placed: Draft[] = [];
  const waits: Decision[] = [];
  const preempted = new Map<string, string>();
  const inOrder = queued.map((job) => ({ job })).sort(byImportance);
  for (const { job } of inOrder) {
    const draft = tryGang(job, running, room, snapshot, preempted);
    if (typeof draft === "object" && "workers" in draft) placed.push(draft);
    else waits.push({ kind: "queue", jobId: job.id, position: waits.length + 1, ...draft });
  }
  // The same words are not said again.
  return { placed, preempted, waits: waits.filter((wait) => isNews(wait, snapshot)) };
}

function isNews(wait: Decision, snapshot: Snapshot): boolean {
  if (wait.kind !== "queue") return true;
  const state = snapshot.jobs.find(({ id }) => id === wait.jobId)?.state;
  return state?.kind !== "queued" || state.reason !== wait.reason || state.message !== wait.message;
}

type Wait = {
  readonly reason: Extract<Decision, { kind: "queue" }>["reason"];
  readonly message: string;
};

function tryGang(
  job: Job,
  running: readonly Draft[],
  room: Room,
  snapshot: Snapshot,
  preempted: Map<string, string>,
): Draft | Wait {
  const { min } = job.spec.workers;
  const need = vectorOf(job.spec.resources);
  if (!isReplacementDue(job, snapshot.nowMs))
    return {
      reason: "PendingEvaluation",
      message: "Workers were lost; the job starts again after a pause.",
    };
  if (room.engines().length === 0)
    return { reason: "WaitingForNodes", message: `${min} workers need a node; none is ready.` };
  const engines = room.engines().filter((engine) => isAllowed(job, engine));
  if (engines.length === 0)
    return {
      reason: "NoMatchingEngine",
      message: `No node has engine ${job.engine?.identity ?? job.spec.engine}.`,
    };
  for (const engine of engines) {
    const draft: Draft = {
      job,
      need,
      workers: [],
      declaredDead: [],
      engine,
      reason: `room for ${min} workers; engine ${engine.name}, ${whyEngine(job)}`,
      added: 0,
    };
    if (fitsWhole(draft, min, room, snapshot)) return draft;
    const victims = makeRoom(draft, min, running, room, snapshot, preempted);
    if (victims) return draft;
  }
  return { reason: "WaitingForQuota", message: whyNot(need, min, engines[0]!.identity, room) };
}

function isAllowed(
  job: Job,
  engine: { readonly name: string; readonly identity: string },
): boolean {
  if (job.engine !== undefined) return job.engine.identity === engine.identity;
  return job.spec.engine === "auto" || job.spec.engine === engine.name;
}

function whyEngine(job: Job): string {
  if (job.engine !== undefined) return "which the job has been trained with";
  if (job.spec.engine !== "auto") return "which the job asks for";
  return "the best that nodes with room have";
}

/** Adds all `count` workers, or none. */
function fitsWhole(draft: Draft, count: number, room: Room, snapshot: Snapshot): boolean {
  while (draft.workers.length < count && add(draft, room, snapshot));
  if (draft.workers.length === count) return true;
  for (const { nodeId } of draft.workers) room.give(nodeId, draft.need);
  draft.workers = [];
  draft.added = 0;
  return false;
}

/** Shrinks, then preempts jobs of lower priority; nothing happens unless the gang then fits. */
function makeRoom(
  draft: Draft,
  count: number,
  running: readonly Draft[],
  room: Room,
  snapshot: Snapshot,
  preempted: Map<string, string>,
): boolean {
  const lower = running
    .filter(({ job }) => job.spec.priority < draft.job.spec.priority && !preempted.has(job.id))
    .toSorted((a, b) => -byImportance(a, b));
  // First everybody shrinks, then everybody may go; the least important first.
  const steps: readonly ShrinkStep[] = [
    ...lower.map((victim) => ({ victim, to: victim.job.spec.workers.min })),
    ...lower.map((victim) => ({ victim, to: 0 })),
  ];
  const taken = stepsThatFit(draft, count, steps, room.copy(), snapshot);
  for (const { victim, to } of taken) {
    const reason = `job "${draft.job.id}" has a higher priority and needs the room`;
    shrinkTo(victim, to, room, reason);
    if (to === 0) preempted.set(victim.job.id, draft.job.id);
  }
  return taken.length > 0 && fitsWhole(draft, count, room, snapshot);
}

interface ShrinkStep {
  readonly victim: Draft;
  readonly to: number;
}

/** The fewest steps, in their order, after which the gang fits; none when it never does. */
function stepsThatFit(
  draft: Draft,
  count: number,
  steps: readonly ShrinkStep[],
  trial: Room,
  snapshot: Snapshot,
): readonly ShrinkStep[] {
  const left = new Map<Draft, number>();
  for (const [index, { victim, to }] of steps.entries()) {
    const present = left.get(victim) ?? victim.workers.length;
    for (const { nodeId } of victim.workers.slice(to, present)) trial.give(nodeId, victim.need);
    left.set(victim, Math.min(to, present));
    if (fitsWhole({ ...draft }, count, trial.copy(), snapshot)) return steps.slice(0, index + 1);
  }
  return [];
}

function whyNot(need: Vector, min: number, engine: string, room: Room): string {
  const probe = room.copy();
  let fitting = 0;
  for (
    let node = probe.bestFit(need, engine);
    node !== undefined && fitting < min;
    node = probe.bestFit(need, engine)
  ) {
    probe.take(node.nodeId, need);
    fitting += 1;
  }
  const gpu = need.gpu > 0 ? `, ${need.gpu} GPUs` : "";
  return `${min} workers of ${need.cpu} cores, ${need.memoryMib} MiB${gpu} are needed at once; there is room for ${fitting}.`;
}

/** One worker each in turn, so that no job takes all that is left. */
function grow(running: readonly Draft[], room: Room, snapshot: Snapshot): void {
  const candidates = running
    .filter(({ job }) => isReplacementDue(job, snapshot.nowMs))
    .toSorted(byImportance);
  for (let hasGrown = true; hasGrown; ) {
    hasGrown = false;
    for (const draft of candidates) {
      if (draft.workers.length >= wantedWorkers(draft.job) || !add(draft, room, snapshot)) continue;
      draft.reason = draft.reason || "grows towards the wanted number of workers";
      hasGrown = true;
    }
  }
}

function isChanged({ job, workers, declaredDead }: Draft): boolean {
  const before = job.placement.map(({ workerId }) => workerId).join();
  return declaredDead.length > 0 || before !== workers.map(({ workerId }) => workerId).join();
}

function placeDecision({ job, workers, engine, reason, declaredDead }: Draft): Decision {
  return { kind: "place", jobId: job.id, workers, engine: engine!, reason, declaredDead };
}
