/** A job as the API shows it: the fold, with conditions, and an estimate of when it ends. */
import { isEnded, type Job } from "@coxswain/domain";

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly lastTransitionTime: string;
}

export function conditionsOf(job: Job): Condition[] {
  const { state } = job;
  const at = iso(job.changedAtMs)!;
  const condition = (type: string, isTrue: boolean, reason: string, message = ""): Condition => ({
    type,
    status: isTrue ? "True" : "False",
    reason,
    message,
    lastTransitionTime: at,
  });
  const isPlaced = ["placed", "running", "finishing", "succeeded"].includes(state.kind);
  return [
    state.kind === "queued"
      ? condition("Admitted", false, state.reason, state.message)
      : condition("Admitted", isPlaced, isPlaced ? "Placed" : pascal(state.kind)),
    condition(
      "Running",
      state.kind === "running",
      pascal(state.kind),
      `generation ${job.generation} with ${job.members.length} workers`,
    ),
    condition("Suspended", state.kind === "suspended", pascal(state.kind)),
    condition("Complete", state.kind === "succeeded", pascal(state.kind)),
    state.kind === "failed"
      ? condition("Failed", true, pascal(state.error.code), state.error.message)
      : condition("Failed", false, pascal(state.kind)),
  ];
}

function pascal(text: string): string {
  return text.replaceAll(/(^|-)([a-z])/g, (_, __, letter: string) => letter.toUpperCase());
}

/** Seconds until the last step at the present pace; undefined when nothing runs. */
export function etaSecondsOf(job: Job): number | undefined {
  const { progress } = job;
  if (isEnded(job) || progress === undefined || progress.stepMs <= 0 || job.members.length === 0)
    return undefined;
  return Math.round(((progress.steps - progress.step) * progress.stepMs) / 1000);
}

const iso = (ms: number | undefined) =>
  // biome-ignore lint/style/noRestrictedGlobals: writes down a given instant; reads no clock
  ms === undefined ? null : new Date(ms).toISOString();

export function summaryOf(job: Job) {
  return {
    id: job.id,
    name: job.name,
    labels: job.labels,
    state: job.state.kind,
    ...(job.state.kind === "queued"
      ? { reason: job.state.reason, message: job.state.message }
      : {}),
    ...(job.state.kind === "failed" ? { error: job.state.error } : {}),
    priority: job.spec.priority,
    queue: job.spec.queue,
    workers: {
      now: job.members.length,
      placed: job.placement.length,
      wanted: job.workersWanted ?? job.spec.workers.max,
      ...job.spec.workers,
      standby: job.standby.length,
      standbyWanted: job.spec.workers.standby ?? 0,
    },
    generation: job.generation,
    step: job.progress?.step ?? 0,
    steps: job.progress?.steps ?? job.spec.steps ?? null,
    epoch: job.progress?.epoch ?? 0,
    samplesPerSecond: job.progress?.samplesPerSecond ?? 0,
    metrics: job.progress?.metrics ?? {},
    evaluation: job.evaluation ?? null,
    etaSeconds: etaSecondsOf(job) ?? null,
    submittedAt: iso(job.submittedAtMs),
    startedAt: iso(job.startedAtMs),
    endedAt: iso(job.endedAtMs),
  };
}

export function detailOf(job: Job) {
  return {
    ...summaryOf(job),
    spec: job.spec,
    conditions: conditionsOf(job),
    members: job.members,
    standby: job.placement.filter(({ workerId }) => job.standby.includes(workerId)),
    placement: job.placement,
    endedWorkers: job.ended,
    engine: job.engine ?? null,
    compiled: job.compiled ?? null,
    checkpoints: job.checkpoints,
    checkpointError: job.checkpointError ?? null,
    firstError: job.firstError ?? null,
    weightsSha256: job.finished?.weightsSha256 ?? null,
    model: job.model ?? null,
    sequence: job.sequence,
  };
}
