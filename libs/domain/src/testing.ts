/** A complete job for tests, small in everything. */
import type { TrainingJob, TrainingJobSpec } from "./training-job.ts";

export function exampleJob(
  name: string,
  spec: Partial<TrainingJobSpec> & Pick<TrainingJobSpec, "steps" | "workers">,
): TrainingJob {
  return {
    apiVersion: "coxswain.dev/v1",
    kind: "TrainingJob",
    metadata: { name },
    spec: {
      program: `sha256:${"0".repeat(64)}`,
      data: "d",
      batchSize: 64,
      shards: 8,
      seed: 1,
      resources: { cpu: 1, memory: 64, gpu: 0 },
      priority: 0,
      queue: "default",
      checkpoint: { everySteps: 5, keep: 1 },
      exchange: "exact",
      stepTimeout: 10,
      engine: "auto",
      parameters: {},
      ...spec,
    },
  };
}
