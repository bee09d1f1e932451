/** What the platform knows of a job: the state that `next` (job-fold.ts) folds from its facts. */
import type { BatchChange } from "./batch-schedule.ts";
import type { TrainingJobSpec } from "./training-job.ts";

export interface JobFailure {
  readonly code: string;
  readonly message: string;
  readonly workerId?: string | undefined;
  readonly step?: number | undefined;
}

export type JobState =
  | {
      readonly kind: "queued";
      readonly reason: string;
      readonly message: string;
      readonly position?: number | undefined;
    }
  | { readonly kind: "placed" }
  | { readonly kind: "running" }
  | { readonly kind: "stopping"; readonly to: "suspended" | "cancelled" }
  | { readonly kind: "suspended" }
  | { readonly kind: "finishing" }
  | {
      readonly kind: "succeeded";
      readonly weightsSha256: string;
      readonly metrics: Readonly<Record<string, number>>;
    }
  | { readonly kind: "failed"; readonly error: JobFailure }
  | { readonly kind: "cancelled" };

export type JobStateKind = JobState["kind"];

export interface JobMember {
  readonly workerId: string;
  readonly nodeId: string;
  readonly shardFrom: number;
  readonly shardTo: number;
}

export interface JobProgress {
  /** Steps committed so far: the next step to commit. */
  readonly step: number;
  readonly steps: number;
  readonly epoch: number;
  readonly samplesPerSecond: number;
  readonly stepMs: number;
  readonly metrics: Readonly<Record<string, number>>;
  readonly atMs: number;
}

export interface JobCheckpoint {
  readonly step: number;
  readonly generation: number;
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly weightsSha256: string;
  readonly final: boolean;
  /** Parts that lie with older checkpoints, since they have not changed. */
  readonly borrowed?: readonly string[] | undefined;
  readonly committedAtMs: number;
}

/** A checkpoint of which workers have told parts, and which nobody has judged yet. */
export interface UnjudgedCheckpoint {
  readonly step: number;
  readonly generation: number;
  readonly parts: number;
  /** Which of the parts. */
  readonly told: readonly number[];
}

/** The program as all workers of the job run it. */
export interface JobCompiled {
  readonly programHash: string;
  /** Recorded: data that is shipped to workers; eager: each compiles it and runs it by operators. */
  readonly mode: "recorded" | "eager";
  readonly data?: { readonly sha256: string; readonly bytes: number } | undefined;
  /** Why it is not recorded, and where in the program the reason lies. */
  readonly reason?: string | undefined;
}

export interface Job {
  readonly id: string;
  readonly name: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: TrainingJobSpec;
  readonly state: JobState;
  readonly submittedAtMs: number;
  /** Sequence of `job.submitted`: the jobs' order of age. */
  readonly submittedSequence: number;
  readonly changedAtMs: number;
  /** First time that a generation formed. */
  readonly startedAtMs: number | undefined;
  readonly endedAtMs: number | undefined;
  /** Sequence of the last fact folded, of any kind. */
  readonly sequence: number;
  /** Sequence of the last `job.*` fact: what a compare-and-set names. */
  readonly lastJobSequence: number;
  /** What the user or the autoscaler asked for, newest first wins; absent: workers.max. */
  readonly workersWanted: number | undefined;
  /** The batch that the autoscaler asked for last; in force once it stands in `batches`. */
  readonly batchWanted: Omit<BatchChange, "fromStep"> | undefined;
  /** The batches of the newest generation; before it, those of the job file. */
  readonly batches: readonly BatchChange[];
  /** Placed and not yet lost or left. */
  readonly placement: readonly { readonly workerId: string; readonly nodeId: string }[];
  /** When the placement was last decided, and when workers were last taken for others. */
  readonly placedAtMs: number | undefined;
  readonly shrunkAtMs: number | undefined;
  readonly engine: { readonly name: string; readonly identity: string } | undefined;
  /** As the first worker that compiled it said. */
  readonly compiled: JobCompiled | undefined;
  readonly generation: number;
  readonly members: readonly JobMember[];
  /** Workers that follow the parameters and are no members. */
  readonly standby: readonly string[];
  /** Workers whose process is known to have ended, newest last, at most 100. */
  readonly ended: readonly {
    readonly workerId: string;
    readonly how: "left" | "lost";
    readonly atMs: number;
    readonly error?: JobFailure | undefined;
  }[];
  /**
   * Consecutive losses without a committed step in between: for back-off and giving up. Those who
   * were placed together and die together count once; who was only shut out does not count.
   */
  readonly lossesInARow: number;
  /** Workers whose loss would count: placed since the last one that did, or since the last step. */
  readonly placedSinceLoss: readonly string[];
  readonly progress: JobProgress | undefined;
  /** Metrics of the held-out set at the last finished epoch. */
  readonly evaluation:
    | {
        readonly epoch: number;
        readonly step: number;
        readonly metrics: Readonly<Record<string, number>>;
      }
    | undefined;
  /** Committed, not pruned, oldest first. */
  readonly checkpoints: readonly JobCheckpoint[];
  /** Beyond the newest of them, told by workers and neither committed nor rejected; at most 8. */
  readonly unjudged: readonly UnjudgedCheckpoint[];
  /** Why the newest checkpoint was skipped; undefined once one is committed. */
  readonly checkpointError: JobFailure | undefined;
  readonly finished:
    | {
        readonly step: number;
        readonly weightsSha256: string;
        readonly metrics: Readonly<Record<string, number>>;
      }
    | undefined;
  readonly model:
    | {
        readonly path: string;
        readonly format: string;
        readonly step: number;
        readonly files: readonly {
          readonly name: string;
          readonly bytes: number;
          readonly sha256: string;
        }[];
      }
    | undefined;
  readonly modelExportError: string | undefined;
  /** A worker said that no retry will mend it. */
  readonly trainingFailed: boolean;
  /** The first error that a worker or the trainer reported since the job started or was resumed. */
  readonly firstError: JobFailure | undefined;
}

/** Workers that a job shall train with: what was asked for, within its limits. */
export function wantedWorkers({
  spec,
  workersWanted,
}: Pick<Job, "spec" | "workersWanted">): number {
  const { min, max } = spec.workers;
  return Math.min(max, Math.max(min, workersWanted ?? max));
}

/** True when nothing will change the job any more. */
export function isEnded(job: Pick<Job, "state">): boolean {
  return (
    job.state.kind === "succeeded" || job.state.kind === "failed" || job.state.kind === "cancelled"
  );
}
