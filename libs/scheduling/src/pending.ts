/**
 * Jobs that wait, in classes: jobs of one class have the same queue, priority and gang, so what
 * keeps one waiting keeps all. One trial answers for the class, however many wait.
 */
import type { Job } from "@coxswain/domain";
import { placeBehind } from "./job-groups.ts";
import type { Wait } from "./snapshot.ts";
import { type Units, unitsOf, vectorOf } from "./vector.ts";

export interface PendingClass {
  readonly key: string;
  readonly queue: string;
  readonly priority: number;
  readonly units: Units;
  /** Oldest first. */
  readonly members: Job[];
  /** Members by the reason that the log gives for their waiting. */
  readonly told: Map<string, Set<string>>;
  /** What the last trial found, while nothing that matters has changed since. */
  failure: Failure | undefined;
}

export interface Failure {
  /** Version of the cluster's state that was looked at. */
  readonly version: number;
  readonly wait: Wait;
  readonly borrows: boolean;
  readonly share: number;
}

export class Pending {
  readonly #classes = new Map<string, PendingClass>();
  readonly #classOf = new Map<string, { readonly one: PendingClass; readonly job: Job }>();

  get classes(): Iterable<PendingClass> {
    return this.#classes.values();
  }

  get size(): number {
    return this.#classOf.size;
  }

  add(job: Job): void {
    const key = keyOf(job);
    let one = this.#classes.get(key);
    if (one === undefined) {
      const { queue, priority, resources } = job.spec;
      const units = unitsOf(vectorOf(resources));
      one = { key, queue, priority, units, members: [], told: new Map(), failure: undefined };
      this.#classes.set(key, one);
    }
    one.members.splice(placeBehind(one.members, job), 0, job);
    const reason = reasonOf(job);
    const told = one.told.get(reason);
    if (told === undefined) one.told.set(reason, new Set([job.id]));
    else told.add(job.id);
    this.#classOf.set(job.id, { one, job });
  }

  delete(jobId: string): boolean {
    const found = this.#classOf.get(jobId);
    if (found === undefined) return false;
    const { one, job } = found;
    this.#classOf.delete(jobId);
    one.members.splice(placeBehind(one.members, job) - 1, 1);
    const told = one.told.get(reasonOf(job))!;
    told.delete(jobId);
    if (told.size === 0) one.told.delete(reasonOf(job));
    if (one.members.length === 0) this.#classes.delete(one.key);
    return true;
  }

  has(jobId: string): boolean {
    return this.#classOf.has(jobId);
  }

  jobOf(jobId: string): Job | undefined {
    return this.#classOf.get(jobId)?.job;
  }

  classOf(jobId: string): PendingClass | undefined {
    return this.#classOf.get(jobId)?.one;
  }

  /** Place in its queue, from 1: more important jobs of the same queue stand before it. */
  positionOf(job: Job): number {
    let before = 0;
    for (const one of this.#classes.values()) {
      if (one.queue !== job.spec.queue || one.priority < job.spec.priority) continue;
      before +=
        one.priority > job.spec.priority ? one.members.length : placeBefore(one.members, job);
    }
    return before + 1;
  }
}

export function reasonOf(job: Job): string {
  return job.state.kind === "queued" ? job.state.reason : "";
}

function keyOf({ spec, engine }: Job): string {
  const { queue, priority, workers, resources, nodeSelector } = spec;
  const selector = nodeSelector === undefined ? [] : Object.entries(nodeSelector).sort();
  const named = engine?.identity ?? spec.engine;
  return JSON.stringify([queue, priority, workers.min, vectorOf(resources), named, selector]);
}

function placeBefore(members: readonly Job[], job: Job): number {
  const place = placeBehind(members, job);
  return members[place - 1]?.id === job.id ? place - 1 : place;
}
