/**
 * A job's state is a pure fold over its events: `next(job, fact)`.
 *
 * Requests and decisions (`job.*`) are appended by compare-and-set on the job's own subject, so
 * whoever folds up to `lastJobSequence` may know that its move is legal before it says it.
 * Observations (`worker.*`, `training.*`, `checkpoint.*`, `model.*`) are true whenever they come:
 * a late one changes details, never an ended job's state.
 *
 * Legal moves:
 *   (none)      -> queued                                  submitted
 *   queued      -> placed, suspended, cancelled, failed
 *   placed      -> running (a generation formed), queued (preempted), stopping, failed, cancelled
 *   running     -> finishing (training finished), queued, stopping, failed
 *   stopping    -> suspended, cancelled, finishing (the end came first), failed
 *   suspended   -> queued (resume requested), cancelled
 *   finishing   -> succeeded, failed
 *   succeeded, failed, cancelled are ends.
 */

import { assertNever } from "./assert.ts";
import { givenBatches } from "./batch-schedule.ts";
import { AppError } from "./errors.ts";
import { foldDecision } from "./fold-decisions.ts";
import {
  foldLoss,
  foldStandingBy,
  foldStored,
  foldTraining,
  foldWorkerEnded,
} from "./fold-observations.ts";
import type { Job, JobCompiled, JobStateKind } from "./job.ts";
import type { FactOf, JobFact } from "./job-facts.ts";

/** The kinds of state in which each request or decision is legal; observations are always legal. */
const legalIn: Readonly<Record<string, readonly JobStateKind[]>> = {
  "job.cancel-requested": ["queued", "placed", "running", "suspended", "stopping"],
  "job.suspend-requested": ["queued", "placed", "running"],
  "job.resume-requested": ["suspended"],
  "job.resize-requested": ["queued", "placed", "running", "suspended"],
  "job.workers-wanted": ["placed", "running"],
  "job.batch-wanted": ["placed", "running"],
  "job.queued": ["queued"],
  "job.placed": ["queued", "placed", "running", "stopping", "finishing"],
  "job.preempted": ["placed", "running"],
  "job.suspended": ["stopping"],
  "job.succeeded": ["finishing"],
  "job.failed": ["queued", "placed", "running", "stopping", "finishing"],
  "job.cancelled": ["stopping", "queued", "suspended"],
};

/** Says whether a fact may follow; the sentence says why not. */
export function whyIllegal(job: Job | undefined, name: string): string | undefined {
  if (name === "job.submitted") return job === undefined ? undefined : `job "${job.id}" exists`;
  if (job === undefined) return `there is no job for ${name}`;
  const kinds = legalIn[name];
  if (kinds === undefined || kinds.includes(job.state.kind)) return undefined;
  return `job "${job.id}" is ${job.state.kind}; ${name} needs ${kinds.join(" or ")}`;
}

/**
 * Folds one fact into a job.
 *
 * @throws AppError `illegal-move` for a request or decision that the job's state does not allow.
 */
export function next(job: Job | undefined, fact: JobFact): Job {
  const illegal = whyIllegal(job, fact.name);
  if (illegal !== undefined)
    throw new AppError("illegal-move", illegal, { details: { name: fact.name } });
  if (fact.name === "job.submitted") return submitted(fact);
  const moved = move(job as Job, fact);
  const isJobFact = fact.name.startsWith("job.");
  return {
    ...moved,
    sequence: fact.sequence,
    lastJobSequence: isJobFact ? fact.sequence : moved.lastJobSequence,
    changedAtMs: fact.timeMs,
  };
}

/**
 * What a refused fact leaves: the job as it was, behind the fact. Its subject has moved on, so whoever
 * writes next must name it.
 */
export function passOver(job: Job, { name, sequence }: Pick<JobFact, "name" | "sequence">): Job {
  return {
    ...job,
    sequence,
    lastJobSequence: name.startsWith("job.") ? sequence : job.lastJobSequence,
  };
}

function submitted(fact: Extract<JobFact, { name: "job.submitted" }>): Job {
  const { metadata, spec } = fact.payload.job;
  return {
    id: fact.jobId,
    name: metadata.name,
    labels: metadata.labels ?? {},
    spec,
    state: {
      kind: "queued",
      reason: "PendingEvaluation",
      message: "The scheduler has not looked at the job yet.",
    },
    submittedAtMs: fact.timeMs,
    submittedSequence: fact.sequence,
    changedAtMs: fact.timeMs,
    startedAtMs: undefined,
    endedAtMs: undefined,
    sequence: fact.sequence,
    lastJobSequence: fact.sequence,
    workersWanted: undefined,
    batchWanted: undefined,
    batches: givenBatches(spec.batchSchedule),
    placement: [],
    placedAtMs: undefined,
    shrunkAtMs: undefined,
    engine: undefined,
    compiled: undefined,
    generation: 0,
    members: [],
    standby: [],
    ended: [],
    lossesInARow: 0,
    placedSinceLoss: [],
    progress: undefined,
    evaluation: undefined,
    checkpoints: [],
    finished: undefined,
    model: undefined,
    modelExportError: undefined,
    unjudged: [],
    checkpointError: undefined,
    firstError: undefined,
    trainingFailed: false,
  };
}

function move(job: Job, fact: Exclude<JobFact, { name: "job.submitted" }>): Job {
  switch (fact.name) {
    case "job.cancel-requested":
    case "job.suspend-requested":
    case "job.resume-requested":
    case "job.resize-requested":
    case "job.workers-wanted":
    case "job.batch-wanted":
      return request(job, fact);
    case "job.queued":
    case "job.placed":
    case "job.preempted":
    case "job.suspended":
      return foldDecision(job, fact);
    case "job.succeeded":
    case "job.failed":
    case "job.cancelled":
      return end(job, fact);
    case "worker.joined":
    case "worker.slowed":
    case "worker.disagreed":
      return job;
    case "worker.standing-by":
      return foldStandingBy(job, fact);
    case "worker.compiled":
      return { ...job, compiled: job.compiled ?? compiledOf(fact) };
    case "worker.left":
      return foldWorkerEnded(job, {
        workerId: fact.payload.workerId,
        how: "left",
        atMs: fact.timeMs,
      });
    case "worker.lost":
      return foldLoss(job, fact);
    case "training.generation-formed":
    case "training.progressed":
    case "training.epoch-finished":
    case "training.finished":
    case "training.failed":
      return foldTraining(job, fact);
    case "checkpoint.written":
    case "checkpoint.committed":
    case "checkpoint.rejected":
    case "checkpoint.passed-over":
    case "checkpoint.skipped":
    case "checkpoint.pruned":
    case "model.exported":
    case "model.export-failed":
      return foldStored(job, fact);
    default:
      return assertNever(fact);
  }
}

function compiledOf({ payload }: FactOf<"worker.compiled">): JobCompiled {
  const { programHash, mode, data, reason } = payload;
  return { programHash, mode, data, reason };
}

function request(
  job: Job,
  fact: FactOf<
    | "job.cancel-requested"
    | "job.suspend-requested"
    | "job.resume-requested"
    | "job.resize-requested"
    | "job.workers-wanted"
    | "job.batch-wanted"
  >,
): Job {
  switch (fact.name) {
    case "job.cancel-requested":
      return { ...job, state: { kind: "stopping", to: "cancelled" } };
    case "job.suspend-requested":
      return { ...job, state: { kind: "stopping", to: "suspended" } };
    case "job.resume-requested":
      return {
        ...job,
        lossesInARow: 0,
        firstError: undefined,
        state: {
          kind: "queued",
          reason: "PendingEvaluation",
          message: "Resumed; the scheduler has not looked at the job yet.",
        },
      };
    case "job.workers-wanted":
      return { ...job, workersWanted: fact.payload.workersWanted };
    case "job.batch-wanted": {
      const { batchSize, learningRateFactor } = fact.payload;
      return { ...job, batchWanted: { batchSize, learningRateFactor, decision: fact.sequence } };
    }
    case "job.resize-requested": {
      const { workersMin, workersMax, workersWanted } = fact.payload;
      const workers = {
        ...job.spec.workers,
        min: workersMin ?? job.spec.workers.min,
        max: workersMax ?? job.spec.workers.max,
      };
      return {
        ...job,
        spec: { ...job.spec, workers },
        workersWanted: workersWanted ?? job.workersWanted,
      };
    }
    default:
      return assertNever(fact);
  }
}

function end(job: Job, fact: FactOf<"job.succeeded" | "job.failed" | "job.cancelled">): Job {
  const ended = { ...job, placement: [], members: [], standby: [], endedAtMs: fact.timeMs };
  switch (fact.name) {
    case "job.succeeded":
      return {
        ...ended,
        state: {
          kind: "succeeded",
          weightsSha256: fact.payload.weightsSha256,
          metrics: fact.payload.metrics,
        },
      };
    case "job.failed":
      return { ...ended, state: { kind: "failed", error: fact.payload.error } };
    case "job.cancelled":
      return { ...ended, state: { kind: "cancelled" } };
    default:
      return assertNever(fact);
  }
}
