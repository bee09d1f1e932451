/** What an audit says. */
import type { BatchChange } from "@coxswain/domain";

/** What can be wrong, one word each; `auditJob` says what holds. */
export type ViolationKind =
  | "no-job"
  | "unknown-generation"
  | "generation-back"
  | "generation-ahead"
  | "shards-wrong"
  | "steps-skipped"
  | "steps-twice"
  | "steps-differ"
  | "restore-wrong"
  | "checkpoint-ahead"
  | "checkpoint-differs"
  | "finish-wrong"
  | "hash-differs"
  | "samples-wrong"
  | "batches-wrong";

export interface Violation {
  readonly kind: ViolationKind;
  /** The event that shows it; absent when the whole log does. */
  readonly sequence?: number;
  readonly message: string;
}

export interface AuditedGeneration {
  readonly generation: number;
  readonly cause: string;
  readonly fromStep: number;
  readonly members: number;
  /** Steps that it committed and that count. */
  readonly steps: number;
}

export interface AuditReport {
  readonly jobId: string;
  readonly ok: boolean;
  /** False while the job still trains: the report is on what has been committed so far. */
  readonly isFinished: boolean;
  /** Different steps that count. */
  readonly stepsCommitted: number;
  readonly stepsTwice: number;
  readonly stepsSkipped: number;
  /** Committed, then lost with every worker, and done again from a checkpoint: to the same bits, where the job is exact. */
  readonly stepsRedone: number;
  /** Of those that count, done by the job at whose checkpoint this one began: its audit proves them. */
  readonly stepsInherited: number;
  readonly samplesTwice: number;
  readonly samplesSkipped: number;
  /**
   * "counted": every sample of every epoch was looked up and ticked off. "derived": the order of
   * an epoch is a bijection, so steps and shards without gap or overlap are enough.
   */
  readonly samplesProof: "counted" | "derived";
  /** Training samples of one epoch, where the log tells. */
  readonly samplesPerEpoch: number | undefined;
  readonly epochs: number | undefined;
  readonly weightsSha256: string | undefined;
  readonly generations: readonly AuditedGeneration[];
  /** Which batches held from which steps on; none: that of the job, throughout. */
  readonly batches: readonly BatchChange[];
  readonly violations: readonly Violation[];
}
