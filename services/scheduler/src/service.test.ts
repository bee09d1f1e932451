/** The scheduler's loop on a real nats-server, with an agent that a test plays. */
import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { Bus } from "@coxswain/bus";
import type { JobId } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { startTestBus } from "@coxswain/embedded/testing";
import type { EventName, StoredEvent } from "@coxswain/events";
import { buildAgentLauncher } from "./io/launcher.ts";
import { runScheduler } from "./service.ts";

const jobId = "train-1" as JobId;
const engine = { name: "wasm", identity: "wasm 1" };

const jobOf = (min: number, max: number) =>
  exampleJob("train", { steps: 10, workers: { min, max } });

function startScheduler(bus: Bus, signal: AbortSignal): Promise<void> {
  return runScheduler(
    { bus, signal, now: Date.now, log: () => undefined },
    { cycleIntervalMs: 50, leaseTtlMs: 600, nodeTimeoutMs: 60_000 },
  );
}

async function addNode(bus: Bus, cpu: number): Promise<void> {
  await bus.bucket("nodes").put("n1", {
    nodeId: "n1",
    host: "127.0.0.1",
    capacity: { cpu, memoryMib: 10_000, gpu: 0 },
    labels: {},
    engines: [engine],
    startedAtMs: 0,
    agentVersion: "0",
  });
}

/** The events of the job, one after the other. */
function eventsOf(t: TestContext, bus: Bus) {
  const stop = new AbortController();
  t.after(() => stop.abort());
  const events = bus.follow({ jobId, signal: stop.signal })[Symbol.asyncIterator]();
  return async <Name extends EventName>(
    name: Name,
  ): Promise<Extract<StoredEvent, { name: Name }>> => {
    for (;;) {
      const { value } = await events.next();
      if (value.kind === "event" && value.event.name === name) return value.event;
    }
  };
}

test("a job waits for nodes, is placed, loses a worker, gets another, and is suspended", async (t) => {
  const { bus } = await startTestBus(t);
  const stop = new AbortController();
  const running = startScheduler(bus, stop.signal);
  t.after(() => stop.abort());
  const next = eventsOf(t, bus);
  await bus.append({
    name: "job.submitted",
    jobId,
    id: "s",
    source: "job-api",
    payload: { job: jobOf(2, 2) },
  });
  equal((await next("job.queued")).payload.reason, "WaitingForNodes");
  await addNode(bus, 2);
  const placed = await next("job.placed");
  equal(placed.payload.workers.length, 2);
  ok((await bus.bucket("secrets").get(jobId))!.value.secret.length >= 32);

  const [lost, kept] = [placed.payload.workers[0]!, placed.payload.workers[1]!];
  const members = placed.payload.workers.map((worker) => ({ ...worker, shardFrom: 0, shardTo: 8 }));
  await bus.append({
    name: "training.generation-formed",
    jobId,
    id: "g",
    source: "trainer",
    payload: { generation: 1, fromStep: 0, members, cause: "start" },
  });
  await bus.append({
    name: "worker.lost",
    jobId,
    id: "l",
    source: "trainer",
    payload: {
      workerId: lost.workerId,
      nodeId: "n1",
      error: { code: "worker-failed", message: "gone" },
    },
  });
  const replaced = (await next("job.placed")).payload.workers.map(({ workerId }) => workerId);
  deepEqual(
    [replaced.length, replaced.includes(kept.workerId), replaced.includes(lost.workerId)],
    [2, true, false],
  );
  // The fact comes first, the list for the agent behind it.
  while (!(await bus.bucket("assignments").get("n1"))?.value.workers.length)
    await new Promise(setImmediate);

  await bus.append({
    name: "job.suspend-requested",
    jobId,
    id: "r",
    source: "job-api",
    payload: {},
  });
  for (const workerId of replaced)
    await bus.append({
      name: "worker.left",
      jobId,
      id: `left ${workerId}`,
      source: "trainer",
      payload: { generation: 1, step: 1, workerId, reason: "asked" },
    });
  await next("job.suspended");
  stop.abort();
  await running;
});

test("a second scheduler takes over with a higher epoch, and the first one's list is refused", async (t) => {
  const { bus } = await startTestBus(t);
  const [first, second] = [new AbortController(), new AbortController()];
  t.after(() => second.abort());
  await addNode(bus, 4);
  const next = eventsOf(t, bus);
  const firstRuns = startScheduler(bus, first.signal);
  await bus.append({
    name: "job.submitted",
    jobId,
    id: "s",
    source: "job-api",
    payload: { job: jobOf(1, 1) },
  });
  const before = (await next("job.placed")).payload;
  first.abort();
  await firstRuns;
  const secondRuns = startScheduler(bus, second.signal);
  await bus.append({
    name: "worker.lost",
    jobId,
    id: "l",
    source: "trainer",
    payload: {
      workerId: before.workers[0]!.workerId,
      nodeId: "n1",
      error: { code: "worker-failed", message: "gone" },
    },
  });
  const after = (await next("job.placed")).payload;
  ok(after.epoch > before.epoch, `${after.epoch} after ${before.epoch}`);
  while (((await bus.bucket("assignments").get("n1"))?.value.epoch ?? 0) < after.epoch)
    await new Promise(setImmediate);
  await rejects(
    buildAgentLauncher(bus, before.epoch).apply(new Map([["n1", []]]), new Map()),
    /stale-epoch/,
  );
  second.abort();
  await secondRuns;
});
