/** Real workers on a real bus, from their start to their end. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { startCluster } from "./worker-cluster.ts";
import { endsRight, members, steps } from "./worker-stories.ts";

for (const count of [2, 3, 4]) {
  test(`${count} workers train to the weights of one`, async (t) => {
    const cluster = await startCluster(t, { spec: { steps: 60 } });
    const workers = Array.from({ length: count }, (_, i) => cluster.start(`w${i}`));
    await endsRight(t, cluster, workers, 60);
  });
}

for (const among of ["some", "all"]) {
  test(`${among} without shared memory: the same weights`, async (t) => {
    const cluster = await startCluster(t, { spec: { steps: 60 } });
    const workers = ["wa", "wb", "wc"].map((id, i) =>
      cluster.start(id, { COXSWAIN_TRANSPORT: among === "all" || i === 0 ? "tcp" : "auto" }),
    );
    await endsRight(t, cluster, workers, 60);
  });
}

test("inside TLS: the same weights, and who does not speak it is not let in", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const encrypted = { EXCHANGE_TLS: "on", COXSWAIN_TRANSPORT: "tcp" };
  const workers = ["wa", "wb"].map((id) => cluster.start(id, encrypted));
  await members(cluster, ["wa", "wb"]);
  const plain = cluster.start("wc", { COXSWAIN_TRANSPORT: "tcp" });
  await cluster.event("training.progressed", ({ stepFrom }) => stepFrom > 20);
  plain.process.kill("SIGKILL");
  await endsRight(t, cluster, workers);
  const formed = cluster.events.filter(({ name }) => name === "training.generation-formed");
  equal(JSON.stringify(formed).includes('"wc"'), false);
});

test("the noise of the gradient is measured on the way; the weights stay", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const workers = ["wa", "wb"].map((id) => cluster.start(id));
  const { gradientNoise } = await cluster.event(
    "training.progressed",
    (progress) => progress.gradientNoise !== undefined,
  );
  ok(gradientNoise!.variance > 0);
  await endsRight(t, cluster, workers);
});

test("what the exchange takes is told", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const workers = ["wa", "wb"].map((id) => cluster.start(id));
  const { exchangeMs } = await cluster.event(
    "training.progressed",
    (progress) => progress.workers === 2 && progress.stepMs > 0,
  );
  ok(exchangeMs! > 0);
  await endsRight(t, cluster, workers);
});

test("asked to leave: exits in good order, nothing is lost", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const a = cluster.start("wa");
  const b = cluster.start("wb");
  await members(cluster, ["wa", "wb"]);
  a.process.kill("SIGTERM");
  equal(await a.ended, 0, a.output());
  equal((await cluster.event("worker.left")).workerId, "wa");
  await endsRight(t, cluster, [b]);
});

test("its agent gone for good: it leaves by itself", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const a = cluster.start("wa", { AGENT_TIMEOUT_MS: "1000" });
  const b = cluster.start("wb");
  equal(await a.ended, 0, a.output());
  equal((await cluster.event("worker.left")).workerId, "wa");
  await endsRight(t, cluster, [b]);
});

test("all asked to leave, then placed again: goes on where it stopped", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const before = ["wa", "wb", "wc"].map((id) => cluster.start(id));
  await cluster.event("training.progressed", ({ stepTo, workers }) => stepTo > 10 && workers === 3);
  for (const worker of before) worker.process.kill("SIGTERM");
  for (const worker of before) equal(await worker.ended, 0, worker.output());
  const after = ["wd", "we"].map((id) => cluster.start(id));
  await endsRight(t, cluster, after);
  const committed = await cluster.event("checkpoint.committed");
  const restored = await cluster.event(
    "training.generation-formed",
    ({ cause }) => cause === "restore",
  );
  equal(restored.fromStep, committed.step);
});

test("checkpoints by time: the first worker writes one by itself", async (t) => {
  const cluster = await startCluster(t, {
    spec: { steps, checkpoint: { everySteps: 10_000, everySeconds: 1, keep: 2 } },
    isUnhurried: true,
  });
  const workers = ["wa", "wb"].map((id) => cluster.start(id));
  await members(cluster, ["wa", "wb"]);
  const { step } = await cluster.event("checkpoint.committed");
  const written = await cluster.event("checkpoint.written", (one) => one.step === step);
  deepEqual([written.part, written.parts], [0, 1]);
  await endsRight(t, cluster, workers);
});

test("weights that do not change are written once; the optimizer's part is written each time", async (t) => {
  const cluster = await startCluster(t, {
    spec: { steps, checkpoint: { everySteps: 20, keep: 1 }, parameters: { learningRate: 0 } },
    isUnhurried: true,
  });
  const workers = ["wa", "wb"].map((id) => cluster.start(id));
  await members(cluster, ["wa", "wb"]);
  const { step, borrowed = [] } = await cluster.event(
    "checkpoint.committed",
    (one) => one.borrowed !== undefined,
  );
  const parts = [0, 1].map((part) =>
    cluster.event("checkpoint.written", (one) => one.step === step && one.part === part),
  );
  const [weights, slots] = await Promise.all(parts);
  deepEqual([weights!.isReused, slots!.isReused], [true, false]);
  deepEqual([borrowed, borrowed.includes(slots!.path)], [[weights!.path], false]);
  await cluster.release();
  await cluster.event("training.finished");
  for (const worker of workers) equal(await worker.ended, 0, worker.output());
});

test("a program that throws fails the job with its own error and step", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, program: "throws.mjs" });
  const worker = cluster.start("wa");
  const failed = await cluster.event("training.failed");
  equal(await worker.ended, 10, worker.output());
  equal(failed.error.code, "program-threw");
  equal(failed.error.workerId, "wa");
  match(failed.error.message, /boom/);
  equal(failed.error.step, 3);
  deepEqual(worker.exit().error?.code, "program-threw");
});

test("a loss that is not finite fails the job", async (t) => {
  const cluster = await startCluster(t, { spec: { steps, parameters: { learningRate: 1e30 } } });
  const workers = ["wa", "wb"].map((id) => cluster.start(id));
  const failed = await cluster.event("training.failed");
  equal(failed.error.code, "loss-not-finite");
  for (const worker of workers)
    ok([0, 10].includes((await worker.ended) as number), worker.output());
});
