/** Jobs for a scenario, made by the same fold as real ones. */
import { defaultShards, type Job, next, type TrainingJobSpec } from "@coxswain/domain";

export interface QueuedJob {
  readonly id: string;
  readonly atMs: number;
  /** Order of age among jobs of one time. */
  readonly sequence: number;
  readonly spec: Partial<TrainingJobSpec> & Pick<TrainingJobSpec, "workers">;
}

/** A job as it is right after its submission; what the spec does not say has the schema's defaults. */
export function queuedJob({ id, atMs, sequence, spec }: QueuedJob): Job {
  const full: TrainingJobSpec = {
    program: `sha256:${"0".repeat(64)}`,
    data: "none",
    batchSize: 64,
    shards: defaultShards(spec.workers.max),
    seed: 1,
    resources: { cpu: 1, memory: 1024, gpu: 0 },
    priority: 0,
    queue: "default",
    checkpoint: { everySteps: 500, keep: 2 },
    exchange: "exact",
    stepTimeout: 300,
    engine: "auto",
    parameters: {},
    steps: 1,
    ...spec,
  };
  const job = {
    apiVersion: "coxswain.dev/v1",
    kind: "TrainingJob",
    metadata: { name: id },
    spec: full,
  } as const;
  return next(undefined, {
    name: "job.submitted",
    jobId: id,
    sequence,
    timeMs: atMs,
    payload: { job },
  });
}
