/**
 * Jobs with `exchange: fast` on real workers under faults: other bits than an exact job's, and nothing
 * else lost: each step and sample once, equal weights in all workers, a loss as good.
 */
import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { PayloadOf } from "@coxswain/events";
import { type Cluster, startCluster, type WorkerProcess } from "./worker-cluster.ts";
import { endOf, members, steps } from "./worker-stories.ts";

/** Of the loss on held-out samples after all steps; the rounding of 300 steps adds up. */
const lossErrorMax = 0.01;

type Finished = PayloadOf<"training.finished">;
let exact: Promise<Finished> | undefined;

async function trainExactly(t: TestContext): Promise<Finished> {
  const cluster = await startCluster(t, { spec: { steps } });
  const worker = cluster.start("w0");
  const finished = await cluster.event("training.finished");
  equal(await worker.ended, 0, worker.output());
  return finished;
}

const startFast = (t: TestContext) =>
  startCluster(t, {
    spec: { steps, exchange: "fast", checkpoint: { everySteps: 50, keep: 2 } },
    isUnhurried: true,
  });

async function endsRight(
  t: TestContext,
  cluster: Cluster,
  workers: readonly WorkerProcess[],
): Promise<string> {
  const finished = await endOf(cluster, workers, steps);
  // A checkpoint's parts come from all members, and are one only where the weights are equal.
  const rejected = cluster.events.filter(({ name }) => name === "checkpoint.rejected");
  deepEqual(rejected, []);
  exact ??= trainExactly(t);
  const { metrics } = await exact;
  const [loss, wanted] = [finished.metrics["loss"]!, metrics["loss"]!];
  ok(Math.abs(loss - wanted) < lossErrorMax, `the loss is ${loss}, exact is ${wanted}`);
  return finished.weightsSha256;
}

test("fast: killed, joined, asked to leave; no step is lost, and the loss is as good", async (t) => {
  const cluster = await startFast(t);
  const [a, b, c] = ["wa", "wb", "wc"].map((id) => cluster.start(id)) as [
    WorkerProcess,
    WorkerProcess,
    WorkerProcess,
  ];
  await cluster.event("training.progressed", ({ workers }) => workers === 3);
  b.process.kill("SIGKILL");
  await members(cluster, ["wa", "wc"]);
  const d = cluster.start("wd");
  await members(cluster, ["wa", "wc", "wd"]);
  a.process.kill("SIGTERM");
  equal(await a.ended, 0, a.output());
  await members(cluster, ["wc", "wd"]);
  const weightsSha256 = await endsRight(t, cluster, [c, d]);
  notEqual(weightsSha256, (await exact)?.weightsSha256); // Three workers add in another order.
});

test("fast: all killed; the next ones restore, and the log adds up", async (t) => {
  const cluster = await startFast(t);
  const before = ["wa", "wb", "wc"].map((id) => cluster.start(id));
  await cluster.event("checkpoint.committed", ({ step }) => step >= 100);
  for (const worker of before) worker.process.kill("SIGKILL");
  for (const { workerId, ended } of before) {
    await ended;
    await cluster.event("worker.lost", (lost) => lost.workerId === workerId);
  }
  const after = ["wd", "we", "wf"].map((id) => cluster.start(id));
  await endsRight(t, cluster, after);
});
