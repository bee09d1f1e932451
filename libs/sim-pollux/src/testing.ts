/** A small synthetic application and workload: what the tests use in place of the published traces. */
import { Application, type TimesByBatch } from "./application.ts";
import type { Applications, Submission } from "./load-traces.ts";

const batches = [32, 64, 128, 256] as const;

/** Seconds of a step: grows with the local batch, and with the exchange between the workers. */
function timesOf(nodes: number, workers: number): TimesByBatch {
  const syncSeconds = workers === 1 ? 0 : nodes === 1 ? 0.01 : 0.05;
  return batches.map((samples) => [
    samples,
    { stepSeconds: 0.1 + samples / 256 + syncSeconds, syncSeconds },
  ]);
}

/** `epochs` of 1000 steps of 64 samples each; with 1 worker an epoch takes 350 s. */
export function syntheticApplication(name: string, epochs: number): Application {
  const grid = new Map<string, TimesByBatch>();
  for (let workers = 1; workers <= 64; workers += 1)
    for (let nodes = Math.ceil(workers / 4); nodes <= Math.min(16, workers); nodes += 1)
      grid.set(`${nodes},${workers}`, timesOf(nodes, workers));
  const noise = { squaredNorm: 1, variance: 4 };
  return new Application({
    name,
    limits: { base: 64, max: 1024, localMin: 32, localMax: 256 },
    epochs,
    placements: new Map([["1", timesOf(1, 1)]]),
    grid,
    validations: [64, 256, 1024].map((batch) => ({
      batch,
      progress: Array.from({ length: epochs }, (_, epoch) => (epoch + 1) * 1000),
      iterations: Array.from({ length: epochs }, (_, epoch) => ((epoch + 1) * 64_000) / batch),
      noise: Array.from({ length: epochs }, () => noise),
    })),
  });
}

export const syntheticApplications: Applications = new Map(
  (
    [
      ["short", 1],
      ["long", 20],
      ["huge", 200],
    ] as const
  ).map(([name, epochs]) => [name, syntheticApplication(name, epochs)]),
);

/** A job every five minutes: mostly short ones, some long, a huge one among them. */
export const syntheticWorkload: readonly Submission[] = Array.from({ length: 24 }, (_, index) => ({
  name: `job-${index}`,
  application: index === 3 ? "huge" : index % 4 === 2 ? "long" : "short",
  submitSeconds: 300 * index,
  workers: index % 4 === 2 ? 8 : 4,
  batch: 256,
}));
