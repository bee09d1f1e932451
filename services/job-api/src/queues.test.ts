/** Queues, services, explain and what-if over HTTP, with a scheduler whose records a test plays. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import type { JobId } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { noLook, recordsOf } from "@coxswain/scheduling";
import { startTestApp } from "./testing.ts";

const engine = { name: "wasm", identity: "wasm 1" };
const job = (steps: number, min: number) => exampleJob("j", { steps, workers: { min, max: min } });

async function start(t: TestContext) {
  const { app, api, bus } = await startTestApp(t);
  /** What the scheduler would have seen: one node. */
  const see = async (cpu: number) => {
    const capacity = { cpu, memoryMib: 10_000, gpu: 0 };
    const node = { nodeId: "n1", capacity, engines: [engine], isAlive: true };
    for (const record of recordsOf(undefined, { ...noLook, nodes: [node] }, 1))
      await bus.appendRecord(record);
    while (api.lookView.look.nodes.length === 0) await new Promise(setImmediate);
  };
  const say = async (name: string, jobId: string, payload: object) => {
    const event = {
      name,
      jobId: jobId as JobId,
      id: `${name} ${jobId}`,
      source: "trainer",
      payload,
    };
    const { sequence } = await bus.append(event as never);
    await api.view.reached(sequence, 5000);
  };
  const send = (method: "PUT" | "POST" | "DELETE", url: string, payload?: object) =>
    app.inject({ method, url, ...(payload === undefined ? {} : { payload }) });
  return { app, see, say, send };
}

test("a queue is configured, shown and taken away; what it cannot be is refused", async (t) => {
  const { app, send } = await start(t);
  const set = await send("PUT", "/v1/queues/lab", { nominalQuota: { cpu: 4 }, cohort: "x" });
  equal(set.statusCode, 200, set.body);
  deepEqual(set.json().spec, {
    nominalQuota: { cpu: 4 },
    cohort: "x",
    weight: 1,
    strategy: "BestEffortFIFO",
    isStopped: false,
  });
  const names = async () =>
    (await app.inject("/v1/queues")).json().items.map(({ name }: { name: string }) => name);
  deepEqual(await names(), ["default", "lab"]);
  equal((await send("PUT", "/v1/queues/lab", { weight: -1 })).statusCode, 400);
  equal((await send("PUT", "/v1/queues/Not%20A%20Name!", {})).statusCode, 400);
  equal((await send("DELETE", "/v1/queues/lab")).statusCode, 204);
  deepEqual(await names(), ["default"]);
});

test("an online service waits for room until the scheduler has answered", async (t) => {
  const { app, send } = await start(t);
  const spec = { replicas: 2, resources: { cpu: 1, memory: 64, gpu: 0 } };
  deepEqual((await send("PUT", "/v1/services/web", spec)).json(), {
    name: "web",
    spec,
    reserved: {},
    missing: 2,
    reason: "",
  });
  equal((await app.inject("/v1/services/web")).json().missing, 2);
  equal((await app.inject("/v1/services")).json().items.length, 1);
  equal((await app.inject("/v1/services/other")).statusCode, 400);
});

test("explain names verified changes, and when the job will start from what others have measured", async (t) => {
  const { app, see, say, send } = await start(t);
  await say("job.submitted", "runs", { job: job(200, 2) });
  await say("job.submitted", "waits", { job: job(100, 2) });
  const workers = ["w1", "w2"].map((workerId) => ({ workerId, nodeId: "n1" }));
  await say("job.placed", "runs", { epoch: 1, workers, engine, reason: "room" });
  const members = workers.map((worker) => ({ ...worker, shardFrom: 0, shardTo: 4 }));
  const formed = { generation: 1, fromStep: 0, members, cause: "start" };
  await say("training.generation-formed", "runs", formed);
  await say("training.progressed", "runs", {
    ...{ generation: 1, stepFrom: 0, stepTo: 100, steps: 200, epoch: 1, workers: 2 },
    ...{ samplesPerSecond: 640, stepMs: 1000, metrics: {} },
  });
  await see(2);
  const beforeMs = Date.now();
  const one = (await app.inject("/v1/jobs/waits/explain")).json();
  const afterMs = Date.now();
  deepEqual([one.reason, one.position], ["WaitingForRoom", 1]);
  deepEqual(
    one.changes.map(({ text }: { text: string }) => text),
    [
      "2 cores more on node n1",
      "2 more nodes of 1 cores, 64 MiB",
      "priority 1",
      "job runs suspended or preempted",
    ],
  );
  // 100 steps of a second are left of the one that runs; then 100 of the one that waits.
  const [early, usual, late] = [one.starts.earliest, one.starts.expected, one.starts.latest];
  deepEqual([early, usual, late].toSorted(), [early, usual, late]);
  const seconds = (from: number, to: string) => Math.floor((Date.parse(to) - from) / 1000);
  ok(seconds(beforeMs, usual) >= 100 && seconds(afterMs, usual) <= 102, usual);
  equal(seconds(Date.parse(usual), one.ends.expected), 100);
  const by = new Date(beforeMs + 150_000).toISOString();
  const answer = await send("POST", "/v1/what-if", { nodes: { count: 0, cpu: 1 }, by });
  equal(answer.json().nodesNeeded, 2);
  equal((await app.inject("/v1/jobs/nobody/explain")).statusCode, 404);
});

test("what if: more nodes, another job", async (t) => {
  const { see, say, send } = await start(t);
  await say("job.submitted", "waits", { job: job(100, 4) });
  await see(2);
  const ask = async (question: object) => (await send("POST", "/v1/what-if", question)).json();
  const now = await ask({});
  deepEqual([now.decisions[0].kind, now.decisions[0].reason], ["queue", "WaitingForRoom"]);
  const more = await ask({ nodes: { count: 1, cpu: 2 } });
  deepEqual([more.decisions[0].kind, more.decisions[0].workers], ["place", 4]);
  const other = await ask({ jobs: [{ name: "other", workers: { min: 1, max: 1 } }] });
  equal(other.decisions.find(({ jobId }: { jobId: string }) => jobId === "other").kind, "place");
  equal((await send("POST", "/v1/what-if", { nodes: { count: -1, cpu: 1 } })).statusCode, 400);
});

test("what if: nodes with disk traffic to offer, for a job that asks for it", async (t) => {
  const { see, send } = await start(t);
  await see(2);
  const resources = { cpu: 1, memory: 64, gpu: 0, diskIo: 300 };
  const jobs = [{ name: "reads", workers: { min: 1, max: 1 }, resources }];
  const kindWith = async (nodes: object) => {
    const { decisions } = (await send("POST", "/v1/what-if", { jobs, nodes })).json();
    return decisions.find(({ jobId }: { jobId: string }) => jobId === "reads").kind;
  };
  equal(await kindWith({ count: 1, cpu: 8 }), "queue");
  equal(await kindWith({ count: 1, cpu: 8, diskIo: 200 }), "queue");
  equal(await kindWith({ count: 1, cpu: 8, diskIo: 500 }), "place");
});
