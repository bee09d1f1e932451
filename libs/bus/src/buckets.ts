/**
 * Every key-value bucket: who writes it, its keys, its values. Facts belong into the log; buckets
 * hold what is about the present: membership, leases, wanted workers, nodes, secrets.
 */

import type { BatchChange, QueueSpec, ServiceSpec } from "@coxswain/domain";

/** What a node offers. Written by its agent; key: node id. */
export interface NodeRecord {
  readonly nodeId: string;
  readonly host: string;
  readonly capacity: {
    readonly cpu: number;
    readonly memoryMib: number;
    readonly gpu: number;
    /** Of all GPUs together. */
    readonly gpuMemoryMib?: number | undefined;
    readonly diskMibps?: number | undefined;
    readonly networkMibps?: number | undefined;
  };
  readonly labels: Readonly<Record<string, string>>;
  /** Those that it offers, where its driver tells of them. */
  readonly gpus?: readonly {
    readonly index: number;
    readonly model: string;
    readonly memoryMib: number;
    readonly driver: string;
  }[];
  /** Engines that can run here, best first. */
  readonly engines: readonly { readonly name: string; readonly identity: string }[];
  readonly startedAtMs: number;
  readonly agentVersion: string;
}

/** One worker that a node shall run. */
export interface WantedWorker {
  readonly jobId: string;
  readonly workerId: string;
  readonly engine: { readonly name: string; readonly identity: string };
  readonly resources: { readonly cpu: number; readonly memoryMib: number; readonly gpu: number };
  /** Its job stops: it leaves, and where it was never started, somebody must say that it has left. */
  readonly isLeaving?: boolean;
  /** Trace context of the submission, for the first step's span. */
  readonly traceparent?: string;
}

/**
 * The complete list of workers that a node shall run; key: node id. Written by the scheduler's
 * agent launcher. Level-triggered: an agent starts what is missing, asks what is not listed to leave.
 * An agent ignores a record whose `epoch` is below the highest it has seen.
 */
export interface AssignmentRecord {
  readonly epoch: number;
  readonly workers: readonly WantedWorker[];
}

export interface MemberRecord {
  readonly workerId: string;
  readonly nodeId: string;
  /** host:port of the worker's exchange listener. */
  readonly address: string;
  readonly shardFrom: number;
  readonly shardTo: number;
}

/**
 * The membership of a job; key: job id. Changed by compare-and-set. `vote` is the record's own part
 * in agreeing on generation + 1: it breaks ties between halves (see trainer/decide/agreement.ts).
 */
export interface MembershipRecord {
  readonly generation: number;
  readonly fromStep: number;
  readonly members: readonly MemberRecord[];
  /** What the generation was formed for. */
  readonly cause?: "start" | "restore" | "loss" | "join" | "leave" | "renew" | "batch";
  /** Which batches hold from which steps on. */
  readonly batches?: readonly BatchChange[];
  readonly vote?: {
    readonly promised: number;
    readonly accepted?: { readonly ballot: number; readonly proposal: unknown };
  };
}

/** Key: role. */
export interface LeaseRecord {
  readonly holder: string;
  readonly expiresAtMs: number;
  readonly epoch: number;
}

/** Key: job id. Made by the scheduler at first placement; never in events or logs. */
export interface SecretRecord {
  readonly secret: string;
}

/** A queue as an operator configured it; key: its name. Written by job-api. */
export interface QueueRecord {
  readonly spec: QueueSpec;
}

/** An online service as it was declared; key: its name. Written by job-api. */
export interface ServiceRecord {
  readonly spec: ServiceSpec;
}

/** The room that is kept for a service; key: its name. Written by the scheduler. */
export interface ReservationRecord {
  readonly epoch: number;
  /** Replicas by node. */
  readonly reserved: Readonly<Record<string, number>>;
  readonly missing: number;
  readonly reason: string;
}

/** Key: SHA-256 of the Idempotency-Key. */
export interface IdempotencyRecord {
  readonly requestHash: string;
  readonly jobId: string;
}

export interface Buckets {
  nodes: NodeRecord;
  assignments: AssignmentRecord;
  membership: MembershipRecord;
  leases: LeaseRecord;
  secrets: SecretRecord;
  idempotency: IdempotencyRecord;
  queues: QueueRecord;
  services: ServiceRecord;
  reservations: ReservationRecord;
}

export type BucketName = keyof Buckets;
export type BucketValue<Name extends BucketName> = Buckets[Name];
export const bucketNames: readonly BucketName[] = [
  "nodes",
  "assignments",
  "membership",
  "leases",
  "secrets",
  "idempotency",
  "queues",
  "services",
  "reservations",
];
