/**
 * What the decisions are made from, kept current by changes: a cycle costs as much as what changed,
 * not as much as there is. It is a function of the latest of each job, node, queue and service: the
 * order in which they came leaves no trace.
 */
import { isEnded, type Job } from "@coxswain/domain";
import { decideEnd } from "./decide-end.ts";
import { Demand } from "./demand.ts";
import { type Held, HeldJobs } from "./held-jobs.ts";
import { Ledger } from "./ledger.ts";
import { type Growth, growthFor, leastGrowth } from "./node-choice.ts";
import { Pending } from "./pending.ts";
import { Quotas } from "./quota.ts";
import { replacementDueAtMs } from "./replacement.ts";
import { type Ask, Room, type RoomNode } from "./room.ts";
import {
  defaultPolicy,
  type JobDecision,
  type NodeView,
  type Policy,
  placedWanted,
  type QueueView,
  type ServiceView,
} from "./snapshot.ts";
import { times, type Units, unitsOf, vectorOf } from "./vector.ts";

/** Nodes among which the best is looked for. */
const candidatesMax = 16;

export class ClusterState {
  readonly room = new Room();
  readonly quotas = new Quotas();
  readonly ledger = new Ledger(this.room, this.quotas);
  readonly pending = new Pending();
  readonly demand = new Demand();
  readonly holders = new HeldJobs(this.room);
  /** Jobs whose workers were lost, and which start again after a pause; with the end of it. */
  readonly delayed = new Map<string, { readonly job: Job; readonly dueAtMs: number }>();
  readonly ending = new Map<string, JobDecision>();
  /** Asked to stop, and some of their workers have not said yet that they have. */
  readonly stopping = new Map<string, Job>();
  readonly services = new Map<string, ServiceView & { readonly units: Units }>();
  policy: Policy = defaultPolicy;
  /** Goes up with each change that may alter who fits where; not with progress or a new job. */
  version = 0;
  #growth: { readonly shapes: object; readonly capacity: object; readonly of: Growth } | undefined;
  readonly #limited = new Map<string, { readonly job: Job; readonly deadlineMs: number }>();
  #nextLimitMs = Number.POSITIVE_INFINITY;

  /** Jobs that hold room, by id. */
  get held(): ReadonlyMap<string, Held> {
    return this.holders.byId;
  }

  setNode(view: NodeView): void {
    if (!this.room.setNode(view)) return;
    this.#nodeChanged(view.nodeId);
  }

  removeNode(nodeId: string): void {
    if (this.room.removeNode(nodeId)) this.#nodeChanged(nodeId);
  }

  #nodeChanged(nodeId: string): void {
    this.version += 1;
    this.holders.nodeChanged(nodeId);
  }

  setQueues(views: readonly QueueView[]): void {
    this.quotas.setQueues(views);
    this.version += 1;
  }

  setService(view: ServiceView): void {
    this.removeService(view.name);
    const units = unitsOf(vectorOf(view.spec.resources));
    this.services.set(view.name, { ...view, units });
    this.demand.set(serviceOwner(view.name), units, view.spec.replicas);
    for (const [nodeId, count] of Object.entries(view.reserved))
      this.room.use(nodeId, times(units, count), 1);
  }

  removeService(name: string): void {
    this.version += 1;
    const known = this.services.get(name);
    if (known === undefined) return;
    this.services.delete(name);
    this.demand.delete(serviceOwner(name));
    for (const [nodeId, count] of Object.entries(known.reserved))
      this.room.use(nodeId, times(known.units, count), -1);
  }

  setPolicy(policy: Policy): void {
    this.policy = policy;
    this.version += 1;
  }

  removeJob(jobId: string): void {
    if (this.#forget(jobId)) this.version += 1;
  }

  /** Where one more goes by the policy's choice; undefined where it fits nowhere. */
  nodeFor(ask: Ask): RoomNode | undefined {
    const { nodeChoice = "fgd" } = this.policy;
    if (nodeChoice === "best-fit") return this.room.bestFit(ask);
    if (nodeChoice === "first-fit") return this.room.firstFit(ask);
    const candidates = this.room.fullest(ask, candidatesMax);
    if (candidates.length <= 1) return candidates[0];
    return leastGrowth(candidates, ask.units, this.#growthNow());
  }

  #growthNow(): Growth {
    const { shapes } = this.demand;
    const { capacity } = this.room;
    if (this.#growth?.shapes !== shapes || this.#growth.capacity !== capacity)
      this.#growth = { shapes, capacity, of: growthFor(shapes, capacity) };
    return this.#growth.of;
  }

  /** A job as it is now. */
  setJob(job: Job): void {
    const held = this.held.get(job.id);
    if (held !== undefined && isSameHold(held.job, job)) {
      // Progress: it may alter who is evicted first, not who fits.
      this.holders.update(job);
      this.#watchLimit(job);
      return;
    }
    const waiting = this.pending.jobOf(job.id) ?? this.delayed.get(job.id)?.job;
    const wasKnown = this.#forget(job.id);
    this.#file(job);
    const waits = this.pending.has(job.id) || this.delayed.has(job.id);
    // One more that waits takes nothing from anybody, but in a strict queue it may stand in front.
    const isStrict = this.quotas.specOf(job.spec.queue)?.strategy === "StrictFIFO";
    const isOnlyTold = waits && waiting?.spec === job.spec && waiting.engine === job.engine;
    const isOneMore = waits && !wasKnown && !isStrict;
    if (!isOnlyTold && !isOneMore && (wasKnown || this.#isKnown(job.id))) this.version += 1;
  }

  #isKnown(jobId: string): boolean {
    return (
      this.held.has(jobId) ||
      this.pending.has(jobId) ||
      this.delayed.has(jobId) ||
      this.ending.has(jobId) ||
      this.stopping.has(jobId)
    );
  }

  /** Puts a job where its state belongs. */
  #file(job: Job): void {
    if (isEnded(job)) return;
    const end = decideEnd(job, Number.NEGATIVE_INFINITY);
    if (end !== undefined) {
      this.ending.set(job.id, end);
      return;
    }
    this.#watchLimit(job);
    const { kind } = job.state;
    if (kind === "stopping") this.stopping.set(job.id, job);
    if (kind !== "stopping" && kind !== "suspended")
      this.demand.set(job.id, unitsOf(vectorOf(job.spec.resources)), placedWanted(job));
    if (kind === "placed" || kind === "running" || kind === "finishing") this.#hold(job);
    if (kind !== "queued") return;
    const dueAtMs = replacementDueAtMs(job);
    if (dueAtMs === undefined) this.pending.add(job);
    else this.delayed.set(job.id, { job, dueAtMs });
  }

  #hold(job: Job): void {
    const { units } = this.holders.add(job);
    for (const { nodeId } of job.placement) {
      this.room.use(nodeId, units, 1);
      this.quotas.use(job.spec.queue, units, 1);
    }
  }

  #forget(jobId: string): boolean {
    this.#limited.delete(jobId);
    this.demand.delete(jobId);
    const wasWaiting = this.pending.delete(jobId) || this.delayed.delete(jobId);
    const wasEnding = this.ending.delete(jobId) || this.stopping.delete(jobId);
    const held = this.holders.delete(jobId);
    if (held === undefined) return wasWaiting || wasEnding;
    for (const { nodeId } of held.job.placement) {
      this.room.use(nodeId, held.units, -1);
      this.quotas.use(held.job.spec.queue, held.units, -1);
    }
    return true;
  }

  #watchLimit(job: Job): void {
    const { timeLimit } = job.spec;
    if (timeLimit === undefined || job.startedAtMs === undefined) return;
    const deadlineMs = job.startedAtMs + timeLimit * 1000;
    this.#limited.set(job.id, { job, deadlineMs });
    this.#nextLimitMs = Math.min(this.#nextLimitMs, deadlineMs);
  }

  /** What time alone changes: limits that passed, pauses that are over. */
  advance(nowMs: number): void {
    if (nowMs > this.#nextLimitMs) this.#endLimited(nowMs);
    for (const [jobId, { job, dueAtMs }] of this.delayed) {
      if (dueAtMs > nowMs) continue;
      this.delayed.delete(jobId);
      this.pending.add(job);
      if (this.quotas.specOf(job.spec.queue)?.strategy === "StrictFIFO") this.version += 1;
    }
  }

  #endLimited(nowMs: number): void {
    this.#nextLimitMs = Number.POSITIVE_INFINITY;
    for (const [jobId, { job, deadlineMs }] of [...this.#limited]) {
      const end = decideEnd(job, nowMs);
      if (end === undefined) this.#nextLimitMs = Math.min(this.#nextLimitMs, deadlineMs);
      else {
        this.#forget(jobId);
        this.ending.set(jobId, end);
        this.version += 1;
      }
    }
  }
}

/** No job is called so. */
const serviceOwner = (name: string) => `service ${name}`;

function isSameHold(a: Job, b: Job): boolean {
  return (
    a.placement === b.placement &&
    a.spec === b.spec &&
    a.state.kind === b.state.kind &&
    a.workersWanted === b.workersWanted &&
    a.lossesInARow === b.lossesInARow &&
    a.engine === b.engine &&
    a.placedAtMs === b.placedAtMs &&
    decideEnd(b, Number.NEGATIVE_INFINITY) === undefined
  );
}
