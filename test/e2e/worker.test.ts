import { equal } from "node:assert/strict";
import { test } from "node:test";
import { auditSteps, startCluster } from "./worker-cluster.ts";

for (const workers of [1, 2, 3]) {
  test(`${workers} workers train to the same weights`, async (t) => {
    const cluster = await startCluster(t, { steps: 40 });
    const started = Array.from({ length: workers }, (_, i) => cluster.start(`w${i}`));
    const finished = await cluster.event("training.finished");
    for (const worker of started) equal(await worker.ended, 0, worker.output());
    equal(auditSteps(cluster.events), 40);
    console.log(workers, finished.weightsSha256, finished.metrics);
  });
}

test("kills: survivors go on, newcomers join, the weights stay", async (t) => {
  const cluster = await startCluster(t, { steps: 400 });
  const a = cluster.start("wa");
  const b = cluster.start("wb");
  const c = cluster.start("wc");
  await cluster.event("training.generation-formed", ({ members }) => members.length === 3);
  b.process.kill("SIGKILL");
  await cluster.event("training.generation-formed", ({ cause, members }) => cause === "loss" && members.length === 2);
  const d = cluster.start("wd");
  await cluster.event("training.generation-formed", ({ members }) => members.some(({ workerId }) => workerId === "wd"));
  a.process.kill("SIGKILL");
  const finished = await cluster.event("training.finished");
  for (const worker of [c, d]) equal(await worker.ended, 0, worker.output());
  equal(auditSteps(cluster.events), 400);
  console.log(finished.weightsSha256);
});
