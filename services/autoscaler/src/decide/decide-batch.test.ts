import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { LearningRateScaling } from "@coxswain/domain";
import { gainOf } from "@coxswain/goodput";
import { decideBatch, type JobBatch } from "./decide-batch.ts";

const policy = { freezeMs: 10_000, batchGainMin: 0.1 };

/** An exchange takes 30 ms, a sample 1 ms: with n workers 64 / n ms and 30 ms an update. */
const updateMs = (workers: number, samples: number) => samples / workers + (workers === 1 ? 0 : 30);
const measuredAt = (workers: number, updateSize: number) => ({
  ...{ workers, nodes: 1, updateSize },
  samplesPerSecond: (1000 * updateSize) / updateMs(workers, updateSize),
});

const noisy = { squaredNorm: 1, variance: 1000 };
const clear = { squaredNorm: 1, variance: 0.01 };
const adaptive = { maxBatchSize: 512, learningRateScaling: "adascale" as LearningRateScaling };

const jobOf = (more: Partial<JobBatch> = {}): JobBatch => ({
  nowMs: 100_000,
  changedAtMs: 0,
  workers: 8,
  batchSize: 64,
  shards: 8,
  present: 64,
  isUnderWay: false,
  adaptive,
  noise: noisy,
  stepsLeft: 10_000,
  measured: [measuredAt(1, 64), measuredAt(2, 64), measuredAt(4, 64), measuredAt(8, 64)],
  ...more,
});

const cases: Record<string, { readonly job: JobBatch; readonly want: number | string }> = {
  "a noisy gradient and a dear exchange: twice the batch, no more at once": {
    job: jobOf(),
    want: 128,
  },
  "on from there, once it was measured": {
    job: jobOf({ present: 128, measured: [...jobOf().measured, measuredAt(8, 128)] }),
    want: 256,
  },
  "no further than the job allows": {
    job: jobOf({ adaptive: { ...adaptive, maxBatchSize: 64 } }),
    want: "no batch brings 10 % more",
  },
  "a gradient without noise: the batch goes back to the job's own": {
    job: jobOf({ present: 256, noise: clear, measured: [...jobOf().measured, measuredAt(8, 256)] }),
    want: 64,
  },
  "one worker has no exchange to save": {
    job: jobOf({ workers: 1, noise: { squaredNorm: 1, variance: 5 } }),
    want: "no batch brings 10 % more",
  },
  "a job that does not allow it": {
    job: jobOf({ adaptive: undefined }),
    want: "the job's batch stays as it is",
  },
  "what is asked for already": {
    job: jobOf({ isUnderWay: true }),
    want: "a batch is asked for already",
  },
  "close to the end": { job: jobOf({ stepsLeft: 99 }), want: "the job is about to end" },
  "nothing measured of the noise": {
    job: jobOf({ noise: undefined }),
    want: "nothing has been measured yet",
  },
  "within the freeze window": {
    job: jobOf({ changedAtMs: 95_000 }),
    want: "workers or batch have just changed",
  },
};

for (const [name, { job, want }] of Object.entries(cases))
  test(name, () => {
    const decision = decideBatch(job, policy);
    deepEqual(decision.kind === "want" ? decision.batchSize : decision.reason, want);
  });

test("the learning rate follows the job's rule; the gain is between 1 and the root's and the whole", () => {
  const factors = (["adascale", "sqrt", "linear", "none"] as const).map((learningRateScaling) => {
    const noise = { squaredNorm: 1, variance: 9 };
    const decision = decideBatch(
      jobOf({ noise, adaptive: { ...adaptive, learningRateScaling } }),
      policy,
    );
    return decision.kind === "want" ? decision.learningRateFactor : decision.reason;
  });
  const gain = gainOf({ squaredNorm: 1, variance: 9 }, 2);
  ok(gain > 1 && gain < 2);
  deepEqual(factors, [Math.round(gain * 1e4) / 1e4, Math.round(Math.SQRT2 * 1e4) / 1e4, 2, 1]);
});

test("the curve says what each batch is worth, from the job's own on", () => {
  const decision = decideBatch(jobOf(), policy);
  equal(decision.kind, "want");
  if (decision.kind !== "want") return;
  deepEqual(
    decision.curve.map(({ batchSize }) => batchSize),
    [64, 128],
  );
  ok(decision.curve[1]!.goodput > 1.1 * decision.curve[0]!.goodput);
  equal(decision.noiseScale, 64_000);
});
