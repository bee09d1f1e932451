/** What the scheduler looks at: plain data, complete for one cycle; and what it may decide. */
import { type Job, type QueueSpec, type ServiceSpec, wantedWorkers } from "@coxswain/domain";
import type { NodeChoice } from "./node-choice.ts";
import type { Vector } from "./vector.ts";

export interface NodeView {
  readonly nodeId: string;
  /** `gpuMemoryMib` is of all GPUs together, which are alike. */
  readonly capacity: Vector;
  readonly engines: readonly { readonly name: string; readonly identity: string }[];
  readonly labels?: Readonly<Record<string, string>>;
  /** False when no sign of life came for longer than the node time-out. */
  readonly isAlive: boolean;
  /** Its capacity is what those that are there hold: they stay, and nobody else comes. Absent: open. */
  readonly isClosed?: true;
}

export interface QueueView {
  readonly name: string;
  readonly spec: QueueSpec;
}

/** An online service and the room that is kept for it now, in replicas per node. */
export interface ServiceView {
  readonly name: string;
  readonly spec: ServiceSpec;
  readonly reserved: Readonly<Record<string, number>>;
  /** Replicas for which there was no room, as it was said last. */
  readonly missing?: number;
}

export interface Policy {
  /**
   * A job whose workers were taken away by decision does not grow, and no worker moves from one
   * job to another for fairness' sake, before so long has passed since their last change.
   */
  readonly freezeMs: number;
  /** On which of the nodes with room a worker goes; default `fgd`. */
  readonly nodeChoice?: NodeChoice;
}

export const defaultPolicy: Policy = { freezeMs: 10_000 };

export interface Snapshot {
  readonly nowMs: number;
  readonly jobs: readonly Job[];
  readonly nodes: readonly NodeView[];
  /** Queues that are not here have no quota; `default` always exists. */
  readonly queues?: readonly QueueView[];
  readonly services?: readonly ServiceView[];
  readonly policy?: Policy;
}

export interface PlacedWorker {
  readonly workerId: string;
  readonly nodeId: string;
}

export type WaitReason =
  | "WaitingForNodes"
  | "WaitingForRoom"
  | "WaitingForQuota"
  | "WaitingForQueueHead"
  | "ExceedsMaxQuota"
  | "NoMatchingEngine"
  | "NoMatchingNodes"
  | "Misconfigured"
  | "OnHold"
  | "PendingEvaluation";

export interface Wait {
  readonly reason: WaitReason;
  readonly message: string;
}

export type JobDecision =
  | (Wait & {
      readonly kind: "queue";
      readonly jobId: string;
      /** In its queue, from 1. */
      readonly position: number;
    })
  | {
      readonly kind: "place";
      readonly jobId: string;
      readonly workers: readonly PlacedWorker[];
      readonly engine: { readonly name: string; readonly identity: string };
      readonly reason: string;
      readonly declaredDead: readonly string[];
    }
  | {
      readonly kind: "preempt";
      readonly jobId: string;
      /** The job, `service NAME`, or the node that needs the room. */
      readonly by: string;
      readonly reason: string;
    }
  | { readonly kind: "end"; readonly jobId: string; readonly how: "suspended" | "cancelled" }
  | { readonly kind: "succeed"; readonly jobId: string }
  | {
      readonly kind: "fail";
      readonly jobId: string;
      readonly code: string;
      readonly message: string;
      readonly workerId?: string;
    };

/** The room that is kept for a service from now on, complete. */
export interface ReserveDecision {
  readonly kind: "reserve";
  readonly service: string;
  readonly reserved: Readonly<Record<string, number>>;
  /** Replicas for which there is no room, even without any job. */
  readonly missing: number;
  readonly reason: string;
}

export type Decision = JobDecision | ReserveDecision;

/** Plain data that reads the same; what is kept by identity is not read at all. */
export const isAlike = (a: unknown, b: unknown) =>
  a === b || JSON.stringify(a) === JSON.stringify(b);

export const compareText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);

export function isAboutJob(decision: Decision): decision is JobDecision {
  return decision.kind !== "reserve";
}

/** Workers that a job shall be given: those that train, and those that stand by. */
export function placedWanted(job: Job): number {
  return wantedWorkers(job) + (job.spec.workers.standby ?? 0);
}

/** Its workers train, or are about to. */
export const isActive = ({ state }: Job) => state.kind === "placed" || state.kind === "running";

/** Higher priority first, then the older, then the lower id. */
export function byImportance(a: Job, b: Job): number {
  return b.spec.priority - a.spec.priority || byAge(a, b);
}

export function byAge(a: Job, b: Job): number {
  return a.submittedAtMs - b.submittedAtMs || compareText(a.id, b.id);
}
