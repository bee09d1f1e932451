/** Real workers on a real bus that die, stop and come back. Every story ends the same. */
import { deepEqual, equal } from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { test } from "node:test";
import { startCluster, type WorkerProcess } from "./worker-cluster.ts";
import { endsRight, members, steps } from "./worker-stories.ts";

test("killed: the survivors go on, a newcomer joins, the first member dies too", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const [a, b, c] = ["wa", "wb", "wc"].map((id) => cluster.start(id)) as [
    WorkerProcess,
    WorkerProcess,
    WorkerProcess,
  ];
  await members(cluster, ["wa", "wb", "wc"]);
  b.process.kill("SIGKILL");
  await members(cluster, ["wa", "wc"]);
  const d = cluster.start("wd");
  await members(cluster, ["wa", "wc", "wd"]);
  a.process.kill("SIGKILL");
  await endsRight(t, cluster, [c, d]);
});

test("hot standby: who stands by takes the place of the killed", async (t) => {
  const workers = { min: 1, max: 2, standby: 1 };
  const cluster = await startCluster(t, { spec: { steps, workers }, isUnhurried: true });
  const a = cluster.start("wa");
  const b = cluster.start("wb");
  await members(cluster, ["wa", "wb"]);
  const c = cluster.start("wc");
  equal((await cluster.event("worker.standing-by")).workerId, "wc");
  b.process.kill("SIGKILL");
  await members(cluster, ["wa", "wc"]);
  await endsRight(t, cluster, [a, c]);
});

test("hot standby: all members killed, who stood by goes on from where they were", async (t) => {
  const workers = { min: 1, max: 2, standby: 1 };
  const checkpoint = { everySteps: 1_000_000, keep: 1 };
  const cluster = await startCluster(t, {
    spec: { steps, workers, checkpoint },
    isUnhurried: true,
  });
  const both = ["wa", "wb"].map((id) => cluster.start(id));
  await members(cluster, ["wa", "wb"]);
  const c = cluster.start("wc");
  await cluster.event("worker.standing-by");
  for (const worker of both) worker.process.kill("SIGKILL");
  await endsRight(t, cluster, [c]);
  const alone = await cluster.event(
    "training.generation-formed",
    ({ members: [one, ...rest] }) => one?.workerId === "wc" && rest.length === 0,
  );
  equal(alone.cause, "loss");
  equal(alone.fromStep > 0, true);
});

test("killed out of a pair: the survivor decides with the record", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const a = cluster.start("wa");
  const b = cluster.start("wb");
  await members(cluster, ["wa", "wb"]);
  a.process.kill("SIGKILL");
  await endsRight(t, cluster, [b]);
});

test("all killed: restores the newest whole checkpoint, and says which one is damaged", async (t) => {
  const cluster = await startCluster(t, {
    spec: { steps, checkpoint: { everySteps: 20, keep: 2 } },
    isUnhurried: true,
  });
  const before = ["wa", "wb"].map((id) => cluster.start(id));
  await cluster.event("checkpoint.committed", ({ step }) => step >= 40);
  for (const worker of before) worker.process.kill("SIGKILL");
  for (const worker of before) await worker.ended;
  for (const { workerId } of before)
    await cluster.event("worker.lost", (lost) => lost.workerId === workerId);
  const committed = cluster.events.filter(({ name }) => name === "checkpoint.committed");
  const [older, newest] = committed.slice(-2).map(({ payload }) => payload as { step: number });
  const written = await cluster.event("checkpoint.written", ({ step }) => step === newest!.step);
  const part = join(cluster.storeFolder, written.path);
  await writeFile(part, (await readFile(part)).fill(1, 8, 12));
  const after = ["wc", "wd"].map((id) => cluster.start(id));
  await endsRight(t, cluster, after);
  const restored = await cluster.event(
    "training.generation-formed",
    ({ cause }) => cause === "restore",
  );
  equal(restored.fromStep, older!.step);
  const passedOver = await cluster.event("checkpoint.passed-over");
  deepEqual([passedOver.step, passedOver.reason.includes(written.path)], [newest!.step, true]);
});

test("the bus dies and comes back: training goes on meanwhile", async (t) => {
  const cluster = await startCluster(t, { spec: { steps: 600 }, isUnhurried: true });
  const workers = ["wa", "wb", "wc"].map((id) => cluster.start(id));
  await members(cluster, ["wa", "wb", "wc"]);
  await cluster.testBus.server.kill();
  const atDeath = workers[0]!.commits().length;
  workers[2]!.process.kill("SIGKILL");
  await workers[2]!.ended;
  while (workers[0]!.commits().length < atDeath + 20)
    await new Promise((resolve) => setTimeout(resolve, 20));
  await cluster.testBus.restart();
  await endsRight(t, cluster, workers.slice(0, 2), 600);
});

test("a zombie wakes up: it is fenced out and ends", async (t) => {
  const cluster = await startCluster(t, { spec: { steps: 600 }, isUnhurried: true });
  const environment = { HEARTBEAT_TIMEOUT_MS: "1500" };
  const workers = ["wa", "wb", "wc"].map((id) => cluster.start(id, environment));
  await members(cluster, ["wa", "wb", "wc"]);
  workers[0]!.process.kill("SIGSTOP");
  await cluster.event("training.generation-formed", ({ cause }) => cause === "loss");
  workers[0]!.process.kill("SIGCONT");
  equal(await workers[0]!.ended, 12, workers[0]!.output());
  await endsRight(t, cluster, workers.slice(1), 600);
});
