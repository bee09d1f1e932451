/** The autoscaler's loop on a real nats-server: what it hears, and what it says. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { Bus } from "@coxswain/bus";
import type { JobId } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { startTestBus } from "@coxswain/embedded/testing";
import { runAutoscaler } from "./service.ts";

const jobId = "fast-1" as JobId;
const job = exampleJob("fast", { steps: 1000, workers: { min: 1, max: 8 } });

const workersOf = (count: number) =>
  Array.from({ length: count }, (_, index) => ({ workerId: `w${index}`, nodeId: "n" }));

/** Submitted and placed; `train` tells generations of so many workers, with five reports each. */
async function told(bus: Bus, spec: object, train: readonly (readonly [number, number])[]) {
  const say = bus.append;
  const submitted = { ...job, spec: { ...job.spec, ...spec } };
  await say({
    name: "job.submitted",
    jobId,
    id: "s",
    source: "job-api",
    payload: { job: submitted },
  });
  const engine = { name: "wasm", identity: "w" };
  const placed = { epoch: 1, workers: workersOf(4), engine, reason: "test" };
  await say({ name: "job.placed", jobId, id: "p", source: "scheduler", payload: placed });
  let step = 0;
  for (const [index, [workers, samplesPerSecond]] of train.entries()) {
    const generation = index + 1;
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
      const pace = { steps: 1000, epoch: 0, workers, samplesPerSecond, stepMs: 1, metrics: {} };
      const gradientNoise = { squaredNorm: 1, variance: 1000 };
      await say({
        name: "training.progressed",
        jobId,
        id: `t${step}`,
        source: "trainer",
        payload: { generation, stepFrom: step - 10, stepTo: step, ...pace, gradientNoise },
      });
    }
  }
}

const options = { cycleIntervalMs: 20, freezeMs: 10_000, gainMin: 0.15, batchGainMin: 0.1 };
/** Long after the last change, so that the freeze window is over. */
const now = () => Date.now() + 60_000;

test("a job that does not gain by more workers gets fewer, with the numbers that say so", async (t) => {
  const { bus } = await startTestBus(t);
  const stop = new AbortController();
  t.after(() => stop.abort());
  await told(bus, {}, [
    [1, 1000],
    [2, 1050],
    [4, 1020],
  ]);
  const running = runAutoscaler({ bus, signal: stop.signal, now, log: () => undefined }, options);
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

test("a job that allows it gets a larger batch where the exchange is dear; it is asked for once", async (t) => {
  const { bus } = await startTestBus(t);
  const stop = new AbortController();
  t.after(() => stop.abort());
  const adaptiveBatch = { maxBatchSize: 512, learningRateScaling: "sqrt" };
  await told(bus, { adaptiveBatch, workers: { min: 8, max: 8 } }, [
    [1, 1000],
    [2, 1032],
    [4, 1390],
    [8, 1684],
  ]);
  const running = runAutoscaler({ bus, signal: stop.signal, now, log: () => undefined }, options);
  const wanted = bus.follow({ names: ["job.batch-wanted"], signal: stop.signal });
  for await (const item of wanted) {
    if (item.kind !== "event" || item.event.name !== "job.batch-wanted") continue;
    const { batchSize, learningRateFactor, curve } = item.event.payload;
    deepEqual([batchSize, learningRateFactor], [128, Math.round(Math.SQRT2 * 1e4) / 1e4]);
    equal(curve.length, 2);
    break;
  }
  stop.abort();
  await running;
  const last = await bus.lastJobSequence(jobId);
  const again = new AbortController();
  // A new process looks at the log, and has nothing to add.
  let looks = 0;
  const signal = again.signal;
  const clocked = () => {
    looks += 1;
    if (looks > 4) again.abort();
    return now();
  };
  await runAutoscaler({ bus, signal, now: clocked, log: () => undefined }, options);
  equal(await bus.lastJobSequence(jobId), last);
});
