/**
 * The facts that the fold reads, with just the fields that it needs. `libs/events` has the schemas;
 * a test there proves that every stored event is one of these.
 */
import type { BatchChange } from "./batch-schedule.ts";
import type { JobCompiled, JobFailure, JobMember } from "./job.ts";
import type { TrainingJob } from "./training-job.ts";

interface Payloads {
  "job.submitted": { readonly job: TrainingJob };
  "job.cancel-requested": object;
  "job.suspend-requested": object;
  "job.resume-requested": object;
  "job.resize-requested": {
    readonly workersMin?: number | undefined;
    readonly workersMax?: number | undefined;
    readonly workersWanted?: number | undefined;
  };
  "job.workers-wanted": { readonly workersWanted: number };
  "job.batch-wanted": { readonly batchSize: number; readonly learningRateFactor: number };
  "job.queued": {
    readonly reason: string;
    readonly message: string;
    readonly position?: number | undefined;
  };
  "job.placed": {
    readonly workers: readonly { readonly workerId: string; readonly nodeId: string }[];
    readonly engine: { readonly name: string; readonly identity: string };
  };
  "job.preempted": { readonly reason: string };
  "job.suspended": object;
  "job.succeeded": {
    readonly weightsSha256: string;
    readonly metrics: Readonly<Record<string, number>>;
  };
  "job.failed": { readonly error: JobFailure };
  "job.cancelled": object;
  "worker.joined": object;
  "worker.standing-by": { readonly workerId: string };
  "worker.compiled": JobCompiled;
  "worker.slowed": object;
  "worker.disagreed": object;
  "worker.left": { readonly workerId: string };
  "worker.lost": { readonly workerId: string; readonly error: JobFailure };
  "training.generation-formed": {
    readonly generation: number;
    readonly members: readonly JobMember[];
    readonly batches?: readonly BatchChange[] | undefined;
  };
  "training.progressed": {
    readonly stepTo: number;
    readonly steps: number;
    readonly epoch: number;
    readonly samplesPerSecond: number;
    readonly stepMs: number;
    readonly metrics: Readonly<Record<string, number>>;
  };
  "training.epoch-finished": {
    readonly epoch: number;
    readonly step: number;
    readonly metrics: Readonly<Record<string, number>>;
  };
  "training.finished": {
    readonly step: number;
    readonly weightsSha256: string;
    readonly metrics: Readonly<Record<string, number>>;
  };
  "training.failed": { readonly error: JobFailure };
  "checkpoint.written": {
    readonly step: number;
    readonly generation: number;
    readonly part: number;
    readonly parts: number;
  };
  "checkpoint.skipped": { readonly step: number; readonly error: JobFailure };
  "checkpoint.committed": {
    readonly generation: number;
    readonly step: number;
    readonly path: string;
    readonly bytes: number;
    readonly sha256: string;
    readonly weightsSha256: string;
    readonly final: boolean;
    readonly borrowed?: readonly string[] | undefined;
  };
  "checkpoint.rejected": { readonly step: number; readonly generation: number };
  "checkpoint.passed-over": object;
  "checkpoint.pruned": { readonly steps: readonly number[] };
  "model.exported": {
    readonly path: string;
    readonly format: string;
    readonly step: number;
    readonly files: readonly {
      readonly name: string;
      readonly bytes: number;
      readonly sha256: string;
    }[];
  };
  "model.export-failed": { readonly reason: string };
}

export type JobFact = {
  [Name in keyof Payloads]: {
    readonly name: Name;
    readonly jobId: string;
    readonly sequence: number;
    readonly timeMs: number;
    readonly payload: Payloads[Name];
  };
}[keyof Payloads];

export type FactOf<Name extends JobFact["name"]> = Extract<JobFact, { name: Name }>;
