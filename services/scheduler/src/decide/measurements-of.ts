/** What a fact adds to the metrics: most of them are in the log already. */
import type { Job } from "@coxswain/domain";
import type { PayloadOf, StoredEvent } from "@coxswain/events";
import type { Measurement } from "@coxswain/service";

/** `before` is the job as it was; the leader alone records, so that nothing counts twice. */
export function measurementsOf(
  event: StoredEvent,
  before: Job | undefined,
  nowMs: number,
): Measurement[] {
  const lag: Measurement = {
    metric: "eventLag",
    value: Math.max(0, nowMs - event.timeMs) / 1000,
    attributes: { event: event.name },
  };
  const isDecision = event.source === "scheduler";
  const decided: Measurement[] = isDecision
    ? [{ metric: "decisions", value: 1, attributes: { event: event.name } }]
    : [];
  return [lag, ...decided, ...(before === undefined ? [] : ofJob(event, before))];
}

function ofJob(event: StoredEvent, before: Job): Measurement[] {
  const queue = { queue: before.spec.queue };
  switch (event.name) {
    case "job.placed":
      return before.state.kind === "queued" ? [waitOf(event.timeMs, before)] : [];
    case "job.succeeded":
    case "job.failed":
    case "job.cancelled":
      return [{ metric: "jobsEnded", value: 1, attributes: { ...queue, event: event.name } }];
    case "worker.lost":
      return [{ metric: "workersLost", value: 1, attributes: { code: event.payload.error.code } }];
    case "training.generation-formed":
      return ofGeneration(event.payload);
    case "training.progressed":
      return ofProgress(event.payload, before);
    case "checkpoint.written": {
      const { writeMs } = event.payload;
      return writeMs === undefined
        ? []
        : [{ metric: "checkpointWriteDuration", value: writeMs / 1000 }];
    }
    case "checkpoint.committed":
      return [{ metric: "checkpointBytes", value: event.payload.bytes }];
    case "checkpoint.skipped":
      return [spoilt(event.payload.error.code)];
    case "checkpoint.rejected":
      return [spoilt("rejected")];
    default:
      return [];
  }
}

/** From the submission, or from losing its place, to having one. */
function waitOf(placedAtMs: number, before: Job): Measurement {
  const sinceMs = before.startedAtMs === undefined ? before.submittedAtMs : before.changedAtMs;
  const value = Math.max(0, placedAtMs - sinceMs) / 1000;
  return { metric: "queueWait", value, attributes: { queue: before.spec.queue } };
}

function ofGeneration({ cause, agreedMs }: PayloadOf<"training.generation-formed">): Measurement[] {
  const attributes = { cause };
  const isRecovery = cause === "loss" || cause === "restore";
  return [
    ...(isRecovery ? [{ metric: "recoveries", value: 1, attributes } as const] : []),
    ...(agreedMs === undefined
      ? []
      : [{ metric: "agreementDuration", value: agreedMs / 1000, attributes } as const]),
  ];
}

function ofProgress(
  { stepFrom, stepTo, stepMs, exchangeMs, workers }: PayloadOf<"training.progressed">,
  { spec }: Job,
): Measurement[] {
  const attributes = { queue: spec.queue };
  const steps: Measurement = {
    metric: "samples",
    value: (stepTo - stepFrom) * spec.batchSize,
    attributes,
  };
  // The first report after a start has no pace yet.
  if (stepMs <= 0) return [steps];
  const step: Measurement = { metric: "stepDuration", value: stepMs / 1000, attributes };
  // Alone there is nobody to wait for.
  if (exchangeMs === undefined || workers < 2) return [steps, step];
  return [steps, step, { metric: "exchangeDuration", value: exchangeMs / 1000, attributes }];
}

function spoilt(reason: string): Measurement {
  return { metric: "checkpointsSpoilt", value: 1, attributes: { reason } };
}
