import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { type Job, next } from "@coxswain/domain";
import type { StoredEvent } from "@coxswain/events";
import { measurementsOf } from "./measurements-of.ts";

/** Submitted at 1 s, in queue "vision", 64 samples a batch; waiting. */
const waiting: Job = next(undefined, {
  name: "job.submitted",
  jobId: "j",
  sequence: 1,
  timeMs: 1000,
  payload: {
    job: {
      metadata: { name: "j" },
      spec: { queue: "vision", batchSize: 64, workers: { min: 1, max: 2 } },
    } as never,
  },
});
const placed = { workers: [], engine: { name: "wasm", identity: "w" } };
const running = next(waiting, {
  name: "job.placed",
  jobId: "j",
  sequence: 2,
  timeMs: 3500,
  payload: placed,
});

const progress = { generation: 1, stepFrom: 10, stepTo: 14, steps: 100, stepMs: 20 };
const cases: Record<
  string,
  { readonly name: string; readonly payload: object; readonly before: Job; readonly want: object }
> = {
  "the wait counts from the submission": {
    name: "job.placed",
    payload: placed,
    before: waiting,
    want: { queueWait: 2.5 },
  },
  "a placement that only changes is no wait": {
    name: "job.placed",
    payload: placed,
    before: running,
    want: {},
  },
  "progress tells the samples and the pace": {
    name: "training.progressed",
    payload: progress,
    before: running,
    want: { samples: 256, stepDuration: 0.02 },
  },
  "with others it tells what the exchange took": {
    name: "training.progressed",
    payload: { ...progress, workers: 2, exchangeMs: 5 },
    before: running,
    want: { samples: 256, stepDuration: 0.02, exchangeDuration: 0.005 },
  },
  "alone there was nobody to wait for": {
    name: "training.progressed",
    payload: { ...progress, workers: 1, exchangeMs: 0 },
    before: running,
    want: { samples: 256, stepDuration: 0.02 },
  },
  "the first report has no pace yet": {
    name: "training.progressed",
    payload: { ...progress, stepMs: 0 },
    before: running,
    want: { samples: 256 },
  },
  "a generation after a loss is a recovery": {
    name: "training.generation-formed",
    payload: { cause: "loss", agreedMs: 40 },
    before: running,
    want: { recoveries: 1, agreementDuration: 0.04 },
  },
  "a join is none": {
    name: "training.generation-formed",
    payload: { cause: "join" },
    before: running,
    want: {},
  },
  "a checkpoint's bytes count once, when it is committed": {
    name: "checkpoint.committed",
    payload: { bytes: 512 },
    before: running,
    want: { checkpointBytes: 512 },
  },
  "a part that found no room": {
    name: "checkpoint.skipped",
    payload: { error: { code: "store-full", message: "full" } },
    before: running,
    want: { checkpointsSpoilt: 1 },
  },
  "a lost worker": {
    name: "worker.lost",
    payload: { error: { code: "worker-failed", message: "killed" } },
    before: running,
    want: { workersLost: 1 },
  },
};

for (const [name, { name: fact, payload, before, want }] of Object.entries(cases)) {
  test(name, () => {
    const event = { name: fact, jobId: "j", sequence: 9, timeMs: 3500, source: "trainer", payload };
    const all = measurementsOf(event as unknown as StoredEvent, before, 3600);
    const { eventLag, ...others } = Object.fromEntries(
      all.map(({ metric, value }) => [metric, value]),
    );
    deepEqual({ eventLag, others }, { eventLag: 0.1, others: want });
  });
}
