/** Jobs that hold room, and which of them may be shrunk, evicted, grown or mended. */
import type { Job } from "@coxswain/domain";
import { Arrivals } from "./arrivals.ts";
import { JobGroups } from "./job-groups.ts";
import type { Room } from "./room.ts";
import { isActive, placedWanted } from "./snapshot.ts";
import { type Units, unitsOf, vectorOf } from "./vector.ts";

/** A job that holds room. */
export interface Held {
  readonly job: Job;
  readonly units: Units;
  /** The same for all whose further workers find room, and quota, in the same places. */
  readonly shape: string;
}

export class HeldJobs {
  readonly byId = new Map<string, Held>();
  readonly byQueue = new Map<string, Set<string>>();
  readonly byPriority = new Map<number, Set<string>>();
  /** More workers than the minimum. */
  readonly surplus = new Set<string>();
  /** Fewer workers than are wanted. */
  readonly hungry = new Set<string>();
  /** More workers than are wanted. */
  readonly over = new Set<string>();
  /** Below the minimum, or with workers on nodes that are gone. */
  readonly troubled = new Set<string>();
  /** The hungry ones, and those with surplus, where one may stand for many. */
  readonly takers = new JobGroups();
  readonly donors = new JobGroups();
  readonly arrivals = new Arrivals();
  readonly #onNode = new Map<string, Set<string>>();
  readonly #room: Pick<Room, "has">;

  constructor(room: Pick<Room, "has">) {
    this.#room = room;
  }

  add(job: Job): Held {
    const { queue, resources, nodeSelector, priority } = job.spec;
    const units = unitsOf(vectorOf(resources));
    const shape = JSON.stringify([queue, units, job.engine?.identity, nodeSelector]);
    const held = { job, units, shape };
    this.byId.set(job.id, held);
    this.arrivals.add(job);
    addTo(this.byQueue, queue, job.id);
    addTo(this.byPriority, priority, job.id);
    for (const { nodeId } of job.placement) addTo(this.#onNode, nodeId, job.id);
    this.#mark(held);
    return held;
  }

  /** The same job with the same workers, further on. */
  update(job: Job): void {
    const held = { ...this.byId.get(job.id)!, job };
    this.byId.set(job.id, held);
    this.#mark(held);
  }

  delete(jobId: string): Held | undefined {
    const held = this.byId.get(jobId);
    if (held === undefined) return undefined;
    this.byId.delete(jobId);
    this.arrivals.delete(held.job);
    removeFrom(this.byQueue, held.job.spec.queue, jobId);
    removeFrom(this.byPriority, held.job.spec.priority, jobId);
    for (const { nodeId } of held.job.placement) removeFrom(this.#onNode, nodeId, jobId);
    for (const ids of [this.troubled, this.surplus, this.over, this.hungry]) ids.delete(jobId);
    this.takers.delete(jobId);
    this.donors.delete(jobId);
    return held;
  }

  /** Jobs that have workers there. */
  onNode(nodeId: string): ReadonlySet<string> {
    return this.#onNode.get(nodeId) ?? none;
  }

  /** A node came, went or changed. */
  nodeChanged(nodeId: string): void {
    for (const jobId of this.#onNode.get(nodeId) ?? []) this.#mark(this.byId.get(jobId)!);
  }

  #mark({ job, shape }: Held): void {
    const { id, placement, spec } = job;
    const isRunning = job.state.kind === "running";
    const holds = isActive(job);
    const count = placement.length;
    const isTroubled =
      (holds && count < spec.workers.min) ||
      placement.some(({ nodeId }) => !this.#room.has(nodeId));
    put(this.troubled, id, isTroubled);
    put(this.surplus, id, holds && count > spec.workers.min);
    put(this.over, id, holds && count > placedWanted(job));
    put(this.hungry, id, isRunning && count < placedWanted(job));
    if (this.hungry.has(id)) this.takers.add(job, shape);
    else this.takers.delete(id);
    if (this.surplus.has(id)) this.donors.add(job, shape);
    else this.donors.delete(id);
  }
}

const none: ReadonlySet<string> = new Set();

function put(ids: Set<string>, id: string, isIn: boolean): void {
  if (isIn) ids.add(id);
  else ids.delete(id);
}

function addTo<Key>(sets: Map<Key, Set<string>>, key: Key, id: string): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([id]));
  else set.add(id);
}

function removeFrom<Key>(sets: Map<Key, Set<string>>, key: Key, id: string): void {
  const set = sets.get(key);
  set?.delete(id);
  if (set?.size === 0) sets.delete(key);
}
