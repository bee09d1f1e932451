/** Real workers on a real bus under faults. Every story ends the same: equal weights, each step told once. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { auditJob } from "@coxswain/audit";
import { type Cluster, startCluster, type WorkerProcess } from "./worker-cluster.ts";

const steps = 300;
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

async function endsRight(
  t: TestContext,
  cluster: Cluster,
  workers: readonly WorkerProcess[],
  stepCount = steps,
): Promise<void> {
  await cluster.release();
  const finished = await cluster.event("training.finished");
  for (const worker of workers) equal(await worker.ended, 0, worker.output());
  const report = auditJob(cluster.events);
  deepEqual(report.violations, []);
  deepEqual(
    [report.stepsCommitted, report.samplesTwice, report.samplesSkipped, report.samplesProof],
    [stepCount, 0, 0, "counted"],
  );
  equal(finished.weightsSha256, await oracleOf(t, stepCount));
  equal(cluster.events.filter(({ name }) => name === "training.finished").length, 1);
}

const members = (cluster: Cluster, ids: readonly string[]) =>
  cluster.event(
    "training.generation-formed",
    (formed) =>
      formed.members
        .map(({ workerId }) => workerId)
        .sort()
        .join() === ids.join(),
  );

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

test("killed out of a pair: the survivor decides with the record", async (t) => {
  const cluster = await startCluster(t, { spec: { steps }, isUnhurried: true });
  const a = cluster.start("wa");
  const b = cluster.start("wb");
  await members(cluster, ["wa", "wb"]);
  a.process.kill("SIGKILL");
  await endsRight(t, cluster, [b]);
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
  const committed = await cluster.event("checkpoint.committed");
  const after = ["wd", "we"].map((id) => cluster.start(id));
  await endsRight(t, cluster, after);
  const restored = await cluster.event(
    "training.generation-formed",
    ({ cause }) => cause === "restore",
  );
  equal(restored.fromStep, committed.step);
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

test("slower than the others for long: named, and its shards are moved; the bits stay", async (t) => {
  const cluster = await startCluster(t, {
    program: "faulty.mjs",
    spec: { steps: 400 },
    isUnhurried: true,
  });
  const environment = { SLOW_AFTER_MS: "1000" };
  const workers = ["wa", "wb", "wc"].map((id) =>
    cluster.start(id, { ...environment, ...(id === "wb" ? { TEST_SHARD_MS: "100" } : {}) }),
  );
  await members(cluster, ["wa", "wb", "wc"]);
  const slowed = await cluster.event("worker.slowed", ({ workerId }) => workerId === "wb");
  ok(slowed.msPerShard > slowed.othersMsPerShard, JSON.stringify(slowed));
  ok(slowed.shardsAfter < slowed.shardsBefore, JSON.stringify(slowed));
  const renewed = await cluster.event("training.generation-formed", ({ cause, members: all }) => {
    const b = all.find(({ workerId }) => workerId === "wb");
    return cause === "renew" && b !== undefined && b.shardTo - b.shardFrom === slowed.shardsAfter;
  });
  equal(renewed.members.length, 3);
  // The slow one leaves, so that the story ends soon.
  workers[1]!.process.kill("SIGTERM");
  equal(await workers[1]!.ended, 0);
  await endsRight(t, cluster, [workers[0]!, workers[2]!], 400);
});

test("a bit flips on one of three: the audit names the worker", async (t) => {
  const cluster = await startCluster(t, {
    program: "faulty.mjs",
    spec: { steps: 400, audit: { everySteps: 2 } },
    isUnhurried: true,
  });
  for (const id of ["wa", "wb", "wc"]) cluster.start(id, id === "wb" ? { TEST_FLIP: "1" } : {});
  await members(cluster, ["wa", "wb", "wc"]);
  const disagreed = await cluster.event("worker.disagreed", ({ votes }) => votes.length === 3);
  equal(disagreed.workerId, "wb");
  equal(disagreed.step % 2, 0);
  equal(new Set(disagreed.votes.map(({ sha256 }) => sha256)).size, 2);
});

test("a bit flips on one of two: that they differ is told, not who is wrong", async (t) => {
  const cluster = await startCluster(t, {
    program: "faulty.mjs",
    spec: { steps: 400, audit: { everySteps: 2 } },
    isUnhurried: true,
  });
  for (const id of ["wa", "wb"]) cluster.start(id, id === "wb" ? { TEST_FLIP: "1" } : {});
  await members(cluster, ["wa", "wb"]);
  const disagreed = await cluster.event("worker.disagreed");
  equal(disagreed.workerId, undefined);
  match(disagreed.reason, /cannot be known/);
});

test("audits of healthy workers find nothing, and change no bit", async (t) => {
  const cluster = await startCluster(t, { spec: { steps: 60, audit: { everySteps: 1 } } });
  const workers = ["wa", "wb", "wc"].map((id) => cluster.start(id));
  await endsRight(t, cluster, workers, 60);
  deepEqual(
    cluster.events.filter(({ name }) => name === "worker.disagreed"),
    [],
  );
});
