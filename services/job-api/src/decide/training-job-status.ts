/** A job as its TrainingJob object shows it. */
import type { Job } from "@coxswain/domain";
import { type Condition, conditionsOf, etaSecondsOf } from "./job-view.ts";

export interface ShownStatus {
  readonly phase: string;
  readonly [field: string]: unknown;
}

const messageCharsMax = 1024;
const minute = 60;
const hour = 3600;

export function statusOf(job: Job, generation: number, before: readonly Condition[]): ShownStatus {
  const { state, progress, members } = job;
  const steps = progress?.steps ?? job.spec.steps;
  const wanted = job.workersWanted ?? job.spec.workers.max;
  const etaSeconds = etaSecondsOf(job);
  const weights = job.finished?.weightsSha256;
  const message = messageOf(job);
  return {
    jobId: job.id,
    phase: state.kind[0]!.toUpperCase() + state.kind.slice(1),
    workers: `${members.length}/${wanted}`,
    progress: `${progress?.step ?? 0}/${steps ?? "?"}`,
    step: progress?.step ?? 0,
    replicas: members.length,
    selector: `coxswain.dev/job=${job.id}`,
    observedGeneration: generation,
    conditions: keepTransitions(conditionsOf(job), before).map((condition) => ({
      ...condition,
      message: condition.message.slice(0, messageCharsMax),
      observedGeneration: generation,
    })),
    ...(steps === undefined ? {} : { steps }),
    ...(message === undefined ? {} : { message: message.slice(0, messageCharsMax) }),
    ...(etaSeconds === undefined ? {} : { etaSeconds, eta: durationOf(etaSeconds) }),
    ...(weights === undefined ? {} : { weightsSha256: weights }),
  };
}

/** Of an object that has no job: it was refused, or it waits to be let in. */
export function unsubmittedStatus(
  refusal: string | undefined,
  generation: number,
  before: readonly Condition[],
  at: string,
): ShownStatus {
  const isRefused = refusal !== undefined;
  const message = (refusal ?? "spec.suspend is true").slice(0, messageCharsMax);
  const condition: Condition = {
    type: isRefused ? "Failed" : "Suspended",
    status: "True",
    reason: isRefused ? "InvalidSpec" : "NotAdmitted",
    message,
    lastTransitionTime: at,
  };
  return {
    phase: isRefused ? "Refused" : "Suspended",
    message,
    observedGeneration: generation,
    conditions: keepTransitions([condition], before).map((one) => ({
      ...one,
      observedGeneration: generation,
    })),
  };
}

function messageOf({ state }: Job): string | undefined {
  if (state.kind === "queued") return state.message;
  return state.kind === "failed" ? state.error.message : undefined;
}

/** A condition's time is that of its last change of status, as the convention asks. */
export function keepTransitions(
  now: readonly Condition[],
  before: readonly Condition[],
): readonly Condition[] {
  return now.map((condition) => {
    const old = before.find(({ type }) => type === condition.type);
    const isSame = old?.status === condition.status;
    return isSame ? { ...condition, lastTransitionTime: old!.lastTransitionTime } : condition;
  });
}

/** `45s`, `3m20s`, `2h5m`: two parts at most. */
export function durationOf(seconds: number): string {
  if (seconds < minute) return `${seconds}s`;
  if (seconds < hour) return `${Math.floor(seconds / minute)}m${seconds % minute}s`;
  return `${Math.floor(seconds / hour)}h${Math.floor((seconds % hour) / minute)}m`;
}
