/** The observing half of the fold: what workers, training and the store report. Never illegal. */
import { assertNever } from "./assert.ts";
import { isEnded, type Job, type JobState, type UnjudgedCheckpoint } from "./job.ts";
import type { FactOf } from "./job-facts.ts";

export function foldWorkerEnded(job: Job, ended: Job["ended"][number]): Job {
  const stays = (worker: { readonly workerId: string }) => worker.workerId !== ended.workerId;
  return {
    ...job,
    placement: job.placement.filter(stays),
    members: job.members.filter(stays),
    standby: job.standby.filter((workerId) => workerId !== ended.workerId),
    ended: [...job.ended.filter(stays), ended].slice(-100),
  };
}

export function foldStandingBy(job: Job, { payload }: FactOf<"worker.standing-by">): Job {
  const { workerId } = payload;
  const isOne = (worker: { readonly workerId: string }) => worker.workerId === workerId;
  if (!job.placement.some(isOne) || job.members.some(isOne)) return job;
  return { ...job, standby: [...job.standby.filter((other) => other !== workerId), workerId] };
}

export function foldLoss(job: Job, { payload, timeMs }: FactOf<"worker.lost">): Job {
  const { workerId } = payload;
  const error = { ...payload.error, workerId };
  const after = foldWorkerEnded(job, { workerId, how: "lost", atMs: timeMs, error });
  const counts = job.placedSinceLoss.includes(workerId) && error.code !== "stale-generation";
  return {
    ...after,
    lossesInARow: job.lossesInARow + (counts ? 1 : 0),
    placedSinceLoss: counts ? [] : job.placedSinceLoss,
    firstError: job.firstError ?? error,
  };
}

function foldGeneration(job: Job, fact: FactOf<"training.generation-formed">): Job {
  if (fact.payload.generation < job.generation || isEnded(job)) return job;
  const state: JobState = job.state.kind === "placed" ? { kind: "running" } : job.state;
  return {
    ...job,
    state,
    generation: fact.payload.generation,
    members: fact.payload.members,
    batches: fact.payload.batches ?? job.batches,
    standby: job.standby.filter(
      (standing) => !fact.payload.members.some(({ workerId }) => workerId === standing),
    ),
    startedAtMs: job.startedAtMs ?? fact.timeMs,
  };
}

export function foldTraining(
  job: Job,
  fact: FactOf<
    | "training.generation-formed"
    | "training.progressed"
    | "training.epoch-finished"
    | "training.finished"
    | "training.failed"
  >,
): Job {
  switch (fact.name) {
    case "training.generation-formed":
      return foldGeneration(job, fact);
    case "training.progressed": {
      const { stepTo, steps, epoch, samplesPerSecond, stepMs, metrics } = fact.payload;
      return {
        ...job,
        lossesInARow: 0,
        placedSinceLoss: job.placement.map(({ workerId }) => workerId),
        // The job has recovered from what was lost before.
        firstError: job.trainingFailed ? job.firstError : undefined,
        progress: {
          step: stepTo,
          steps,
          epoch,
          samplesPerSecond,
          stepMs,
          metrics,
          atMs: fact.timeMs,
        },
      };
    }
    case "training.epoch-finished":
      return {
        ...job,
        evaluation: {
          epoch: fact.payload.epoch,
          step: fact.payload.step,
          metrics: fact.payload.metrics,
        },
      };
    case "training.finished": {
      if (isEnded(job)) return job;
      return {
        ...job,
        finished: {
          step: fact.payload.step,
          weightsSha256: fact.payload.weightsSha256,
          metrics: fact.payload.metrics,
        },
        state: { kind: "finishing" },
      };
    }
    case "training.failed":
      return {
        ...job,
        firstError: job.trainingFailed ? job.firstError : fact.payload.error,
        trainingFailed: true,
      };
    default:
      return assertNever(fact);
  }
}

type Place = Pick<UnjudgedCheckpoint, "step" | "generation">;

const unjudgedMax = 8;

const isSame = (one: Place, other: Place) =>
  one.step === other.step && one.generation === other.generation;

/** What lies before a committed checkpoint, nobody restores any more. */
function foldWritten(job: Job, { payload }: FactOf<"checkpoint.written">): Job {
  const { step, generation, part, parts } = payload;
  if (job.checkpoints.some((checkpoint) => checkpoint.step >= step)) return job;
  const before = job.unjudged.find((one) => isSame(one, payload))?.told ?? [];
  const told = [...before.filter((one) => one !== part), part];
  const others = job.unjudged.filter((one) => !isSame(one, payload));
  return { ...job, unjudged: [...others, { step, generation, parts, told }].slice(-unjudgedMax) };
}

export function foldStored(
  job: Job,
  fact: FactOf<
    | "checkpoint.written"
    | "checkpoint.skipped"
    | "checkpoint.committed"
    | "checkpoint.rejected"
    | "checkpoint.passed-over"
    | "checkpoint.pruned"
    | "model.exported"
    | "model.export-failed"
  >,
): Job {
  switch (fact.name) {
    case "checkpoint.written":
      return foldWritten(job, fact);
    case "checkpoint.rejected": {
      const isOther = (one: Place) => !isSame(one, fact.payload);
      return { ...job, unjudged: job.unjudged.filter(isOther) };
    }
    case "checkpoint.passed-over":
      return job;
    case "checkpoint.committed": {
      const others = job.checkpoints.filter(({ step }) => step !== fact.payload.step);
      const checkpoints = [...others, { ...fact.payload, committedAtMs: fact.timeMs }].sort(
        (a, b) => a.step - b.step,
      );
      const unjudged = job.unjudged.filter(({ step }) => step > fact.payload.step);
      return { ...job, checkpoints, unjudged, checkpointError: undefined };
    }
    case "checkpoint.skipped":
      return { ...job, checkpointError: { ...fact.payload.error, step: fact.payload.step } };
    case "checkpoint.pruned":
      return {
        ...job,
        checkpoints: job.checkpoints.filter(({ step }) => !fact.payload.steps.includes(step)),
      };
    case "model.exported":
      return { ...job, model: fact.payload };
    case "model.export-failed":
      return { ...job, modelExportError: fact.payload.reason };
    default:
      return assertNever(fact);
  }
}
