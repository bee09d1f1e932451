/** A batch that changes while real workers train: the weights follow from what the log tells of it. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { auditJob } from "@coxswain/audit";
import type { StoredEvent } from "@coxswain/events";
import { type Cluster, jobId, startCluster } from "./worker-cluster.ts";
import { endOf, members } from "./worker-stories.ts";

const steps = 201;

const wantBatch = (cluster: Cluster, batchSize: number, learningRateFactor: number) =>
  cluster.append({
    name: "job.batch-wanted",
    id: `${jobId}.batch-wanted.${batchSize}`,
    source: "autoscaler",
    payload: { batchSize, learningRateFactor, reason: "test", curve: [] },
  } as never);

const inForce = (cluster: Cluster, batchSize: number) =>
  cluster.event(
    "training.progressed",
    (progress) => progress.batchSize === batchSize && progress.stepTo > progress.stepFrom,
  );

const isFormed = (event: StoredEvent) => event.name === "training.generation-formed";

/** One worker that nothing disturbs, given the batches that the other run's log tells. */
async function weightsByTheLog(t: TestContext, cluster: Cluster): Promise<string> {
  const last = cluster.events.findLast(isFormed) as Extract<
    StoredEvent,
    { name: "training.generation-formed" }
  >;
  const batchSchedule = last.payload.batches!.map(({ decision: _, ...change }) => change);
  equal(batchSchedule.length, 2);
  const alone = await startCluster(t, { spec: { steps, batchSchedule } });
  const worker = alone.start("w0");
  return (await endOf(alone, [worker], steps)).weightsSha256;
}

test("the batch grows and shrinks while workers are killed and join: the weights are the log's", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const [a, b] = ["wa", "wb"].map((id) => cluster.start(id));
  await members(cluster, ["wa", "wb"]);
  await wantBatch(cluster, 96, 2);
  await inForce(cluster, 96);
  a!.process.kill("SIGKILL");
  await members(cluster, ["wb"]);
  const c = cluster.start("wc");
  await members(cluster, ["wb", "wc"]);
  await wantBatch(cluster, 64, 1.5);
  await inForce(cluster, 64);
  c.process.kill("SIGKILL");
  await members(cluster, ["wb"]);
  const finished = await endOf(cluster, [b!], steps);
  const causes = cluster.events.flatMap((event) =>
    event.name === "training.generation-formed" ? [event.payload.cause] : [],
  );
  deepEqual(
    auditJob(cluster.events).batches.map(({ batchSize }) => batchSize),
    [96, 64],
  );
  deepEqual(causes, ["start", "join", "batch", "loss", "join", "batch", "loss"]);
  equal(finished.weightsSha256, await weightsByTheLog(t, cluster));
});

test("all workers die after a change: what is trained again has the batches that it had", async (t) => {
  const spec = { steps, checkpoint: { everySteps: 20, keep: 2 } };
  const cluster = await startCluster(t, { spec, isUnhurried: true });
  const a = cluster.start("wa");
  await cluster.event("checkpoint.committed");
  await wantBatch(cluster, 64, 1.5);
  const first = await inForce(cluster, 64);
  await wantBatch(cluster, 128, 2);
  await inForce(cluster, 128);
  ok(first.stepTo > 20);
  a.process.kill("SIGKILL");
  await a.ended;
  const b = cluster.start("wb");
  const finished = await endOf(cluster, [b], steps);
  equal(finished.weightsSha256, await weightsByTheLog(t, cluster));
});
