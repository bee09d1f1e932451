/** Whether a job's time has come, judged from what the log says of it. */
import type { Job } from "@coxswain/domain";
import type { JobDecision } from "./snapshot.ts";

/** So many losses without a committed step in between, and the job is given up. */
export const lossesMax = 5;
/** A worker that ran out of memory will do so again. */
const memoryLossesMax = 2;

export function decideEnd(job: Job, nowMs: number): JobDecision | undefined {
  return endOfFinished(job) ?? endOfStopped(job) ?? endOfFailed(job, nowMs);
}

function endOfFinished(job: Job): JobDecision | undefined {
  if (job.state.kind !== "finishing") return undefined;
  if (job.model !== undefined || job.modelExportError !== undefined)
    return { kind: "succeed", jobId: job.id };
  return undefined;
}

/** Stopped when no worker is left; how is what the user asked for. */
function endOfStopped(job: Job): JobDecision | undefined {
  if (job.state.kind !== "stopping" || job.placement.length > 0) return undefined;
  return { kind: "end", jobId: job.id, how: job.state.to };
}

function endOfFailed(job: Job, nowMs: number): JobDecision | undefined {
  const { kind } = job.state;
  if (kind === "suspended" || kind === "finishing") return undefined;
  const { timeLimit } = job.spec;
  if (
    timeLimit !== undefined &&
    job.startedAtMs !== undefined &&
    nowMs - job.startedAtMs > timeLimit * 1000
  ) {
    return {
      kind: "fail",
      jobId: job.id,
      code: "time-limit",
      message: `the job ran longer than its limit of ${timeLimit} s`,
    };
  }
  const error = job.firstError;
  if (error === undefined) return undefined;
  const max = error.code === "out-of-memory" ? memoryLossesMax : lossesMax;
  const isFinal = job.trainingFailed || job.lossesInARow > max;
  if (!isFinal) return undefined;
  const worker = error.workerId === undefined ? {} : { workerId: error.workerId };
  return { kind: "fail", jobId: job.id, code: error.code, message: error.message, ...worker };
}
