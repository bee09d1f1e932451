/** The autoscaler's loop on a real nats-server: what it hears, and what it says. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { JobId } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { startTestBus } from "@coxswain/embedded/testing";
import { runAutoscaler } from "./service.ts";

const jobId = "fast-1" as JobId;
const job = exampleJob("fast", { steps: 1000, workers: { min: 1, max: 8 } });

test("a job that does not gain by more workers gets fewer, with the numbers that say so", async (t) => {
  const { bus } = await startTestBus(t);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const say = bus.append;
  const workersOf = (count: number) =>
    Array.from({ length: count }, (_, index) => ({ workerId: `w${index}`, nodeId: "n" }));
  await say({ name: "job.submitted", jobId, id: "s", source: "job-api", payload: { job } });
  await say({
    name: "job.placed",
    jobId,
    id: "p",
    source: "scheduler",
    payload: {
      epoch: 1,
      workers: workersOf(4),
      engine: { name: "wasm", identity: "w" },
      reason: "test",
    },
  });
  let step = 0;
  for (const [generation, workers, speed] of [
    [1, 1, 1000],
    [2, 2, 1050],
    [3, 4, 1020],
  ] as const) {
    const members = workersOf(workers).map((worker) => ({ ...worker, shardFrom: 0, shardTo: 8 }));
    await say({
      name: "training.generation-formed",
      jobId,
      id: `g${generation}`,
      source: "trainer",
      payload: { generation, fromStep: step, members, cause: "join" },
    });
    for (let report = 0; report < 5; report += 1) {
      step += 10;
      await say({
        name: "training.progressed",
        jobId,
        id: `t${step}`,
        source: "trainer",
        payload: {
          generation,
          stepFrom: step - 10,
          stepTo: step,
          steps: 1000,
          epoch: 0,
          workers,
          samplesPerSecond: speed,
          stepMs: 1,
          metrics: {},
        },
      });
    }
  }
  // Long after the last change, so that the freeze window is over.
  const now = () => Date.now() + 60_000;
  const running = runAutoscaler(
    { bus, signal: stop.signal, now, log: () => undefined },
    { cycleIntervalMs: 20, freezeMs: 10_000, gainMin: 0.15 },
  );
  for await (const item of bus.follow({ names: ["job.workers-wanted"], signal: stop.signal })) {
    if (item.kind !== "event" || item.event.name !== "job.workers-wanted") continue;
    const { workersWanted, curve, threshold, reason } = item.event.payload;
    deepEqual([workersWanted, threshold], [1, 0.15]);
    equal(curve.filter(({ measured }) => measured).length, 3);
    ok(reason.includes("2: 1050/s"), reason);
    break;
  }
  stop.abort();
  await running;
});
