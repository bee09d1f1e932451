/** What a simulated job tells the log: the payloads of its observations. */
import type { FactOf, Job, JobFact } from "@coxswain/domain";
import type { Training } from "./training.ts";

/** A fact without its place in the log. */
export type Untimed = {
  [Name in JobFact["name"]]: {
    readonly name: Name;
    readonly payload: FactOf<Name>["payload"];
  };
}[JobFact["name"]];

/** Nothing is trained in a simulation: there are no weights to hash. */
export const noHash = "0".repeat(64);

export function generationFact(job: Job, ready: ReadonlySet<string>): Untimed {
  const members = job.placement
    .filter(({ workerId }) => ready.has(workerId))
    .map((worker) => ({ ...worker, shardFrom: 0, shardTo: 0 }));
  const payload = { generation: job.generation + 1, members };
  return { name: "training.generation-formed", payload };
}

export function progressFact(job: Job, training: Training): Untimed {
  const rate = training.unitsPerSecond;
  const payload = {
    stepTo: Math.floor(training.unitsDone),
    steps: Math.ceil(Math.min(training.units, Number.MAX_SAFE_INTEGER)),
    epoch: 0,
    samplesPerSecond: rate * job.spec.batchSize,
    stepMs: rate === 0 ? (job.progress?.stepMs ?? 0) : 1000 / rate,
    metrics: {},
  };
  return { name: "training.progressed", payload };
}

/** The end of the training, and the model that the checkpoint service makes of it. */
export function finishedFacts(training: Training): readonly Untimed[] {
  const step = Math.floor(training.units);
  return [
    { name: "training.finished", payload: { step, weightsSha256: noHash, metrics: {} } },
    { name: "model.exported", payload: { path: "none", format: "none", step, files: [] } },
  ];
}
