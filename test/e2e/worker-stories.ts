/** What every story of workers under faults ends with. */
import { deepEqual, equal } from "node:assert/strict";
import type { TestContext } from "node:test";
import { auditJob } from "@coxswain/audit";
import type { PayloadOf } from "@coxswain/events";
import { type Cluster, startCluster, type WorkerProcess } from "./worker-cluster.ts";

/** Of a story that says nothing else. */
export const steps = 300;
const oracles = new Map<number, Promise<string>>();

/** The weights of a run of one worker that nothing disturbed. */
function oracleOf(t: TestContext, stepCount: number): Promise<string> {
  let oracle = oracles.get(stepCount);
  if (oracle === undefined) {
    oracle = (async () => {
      const cluster = await startCluster(t, { spec: { steps: stepCount } });
      const worker = cluster.start("w0");
      const finished = await cluster.event("training.finished");
      equal(await worker.ended, 0, worker.output());
      return finished.weightsSha256;
    })();
    oracles.set(stepCount, oracle);
  }
  return oracle;
}

/** The job ends, its workers in good order, and its log tells each of its steps and samples once. */
export async function endOf(
  cluster: Cluster,
  workers: readonly WorkerProcess[],
  stepCount: number,
): Promise<PayloadOf<"training.finished">> {
  await cluster.release();
  const finished = await cluster.event("training.finished");
  for (const worker of workers) equal(await worker.ended, 0, worker.output());
  const report = auditJob(cluster.events);
  deepEqual(report.violations, []);
  deepEqual(
    [report.stepsCommitted, report.samplesTwice, report.samplesSkipped, report.samplesProof],
    [stepCount, 0, 0, "counted"],
  );
  return finished;
}

/** As `endOf`, with the weights of an undisturbed run. */
export async function endsRight(
  t: TestContext,
  cluster: Cluster,
  workers: readonly WorkerProcess[],
  stepCount = steps,
): Promise<void> {
  const finished = await endOf(cluster, workers, stepCount);
  equal(finished.weightsSha256, await oracleOf(t, stepCount));
  equal(cluster.events.filter(({ name }) => name === "training.finished").length, 1);
}

/** Resolves when a generation of just these has formed. */
export const members = (cluster: Cluster, ids: readonly string[]) =>
  cluster.event(
    "training.generation-formed",
    (formed) =>
      formed.members
        .map(({ workerId }) => workerId)
        .sort()
        .join() === ids.join(),
  );
