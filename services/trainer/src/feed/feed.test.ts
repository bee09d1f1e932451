import { deepEqual, equal, match, ok, throws } from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { MessageChannel, Worker } from "node:worker_threads";
import { writeDataset } from "@coxswain/dataset";
import { shardSamples } from "@coxswain/domain";
import type { BatchPlace } from "../decide/load-queue.ts";
import { Feed } from "./feed.ts";

const job = { batchSize: 8, shards: 4, seed: 3 };
const samples = 20;

/** A program whose sample i is [i, i + 0.5] with label [-i]; `read` is in memory or not. */
const programOf = (split: string) => `
import { defineProgram } from "@coxswain/program";
const gather = (indices) => ({
  inputs: Float32Array.from(indices.flatMap((i) => [i, i + 0.5])),
  labels: Float32Array.from(indices, (i) => -i),
});
export default defineProgram({ data: async (source) => {
  if (source === "none") throw new Error("no such data");
  const split = { samples: ${samples}, ${split} };
  return { inputShape: [2], labelShape: [1], train: split, test: split };
} });`;

async function open(t: TestContext, split: string, data = "made-up", program = programOf(split)) {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-feed-"));
  const programPath = join(folder, "program.mjs");
  await writeFile(programPath, program);
  const { port1, port2 } = new MessageChannel();
  const [bell, stalledMs] = [new SharedArrayBuffer(4), new SharedArrayBuffer(8)];
  const loader = new Worker(new URL("./loader-thread.ts", import.meta.url), {
    workerData: { ...job, programPath, data, port: port1, bell },
    transferList: [port1],
  });
  t.after(async () => {
    await loader.terminate();
    port2.close();
    await rm(folder, { recursive: true });
  });
  return { feed: new Feed({ port: port2, bell, stalledMs }), stalledMs };
}

const readsRecords = `
import { defineProgram, records } from "@coxswain/program";
export default defineProgram({ data: records });`;
const inMemory = "batch: gather";
const streamed = "read: async (indices) => gather(indices)";
const everyShard = (step: number) => [0, 1, 2, 3].map((shard) => ({ step, shard }));

for (const [name, split] of Object.entries({ "in memory": inMemory, "from files": streamed })) {
  test(`data ${name}: each shard's batch is its samples, expected or not`, async (t) => {
    const { feed, stalledMs } = await open(t, split);
    const data = feed.open();
    deepEqual([data.inputShape, data.labelShape, data.train.samples], [[2], [1], samples]);
    const check = (place: BatchPlace) => {
      const indices = shardSamples({ ...job, samples, ...place });
      const { inputs, labels } = feed.at(place, () => data.train.batch(indices));
      deepEqual(
        [...inputs],
        indices.flatMap((i) => [i, i + 0.5]),
      );
      deepEqual(
        [...labels],
        indices.map((i) => -i),
      );
    };
    for (let step = 0; step < 20; step += 1) {
      feed.expect([...everyShard(step), ...everyShard(step + 1)]);
      for (const place of everyShard(step)) check(place);
    }
    // Somebody died: other shards, and one again.
    feed.expect([{ step: 20, shard: 3 }]);
    for (const shard of [2, 3, 0, 0]) check({ step: 20, shard });
    check({ step: 7, shard: 1 });
    ok(new Float64Array(stalledMs)[0]! > 0, "waiting was counted");
    deepEqual([...data.test.batch([4, 2]).labels], [-4, -2]);
    deepEqual([...data.train.batch([1]).inputs], [1, 1.5]);
    // One after the other, up to the last one; then from the beginning, and something else in between.
    const held = (...indices: number[]) => [...data.test.batch(indices).labels];
    for (const first of [0, 3, 6, 0])
      deepEqual(held(first, first + 1, first + 2), [-first, -first - 1, -first - 2]);
    deepEqual([...data.train.batch([2]).inputs], [2, 2.5]);
    deepEqual(
      [held(18, 19), held(19, 19)],
      [
        [-18, -19],
        [-19, -19],
      ],
    );
  });
}

test("expecting more than there is room for, and then something else, does not lock up", async (t) => {
  const { feed } = await open(t, inMemory);
  const data = feed.open();
  feed.expect([1, 2, 3, 4, 5].flatMap(everyShard));
  for (const shard of [0, 1, 2, 3]) {
    const place = { step: 9, shard };
    const indices = shardSamples({ ...job, samples, ...place });
    equal(feed.at(place, () => data.train.batch(indices)).labels[0], -indices[0]!);
  }
});

test("what was used last may be expected again", async (t) => {
  const { feed } = await open(t, inMemory);
  const data = feed.open();
  const labelAt = (shard: number) => {
    const indices = shardSamples({ ...job, samples, step: 1, shard });
    const { labels } = feed.at({ step: 1, shard }, () => data.train.batch(indices));
    return labels[0] === -indices[0]!;
  };
  feed.expect(everyShard(1));
  equal(labelAt(0) && labelAt(1), true);
  feed.expect(everyShard(1)); // A new order: the shards' sum is of no use to it.
  for (const shard of [0, 1, 2, 3]) equal(labelAt(shard), true);
});

test("the program's own error comes from where its data is used, with the place", async (t) => {
  const broken = `batch: () => { throw new Error("record 7 is broken"); }`;
  const { feed } = await open(t, broken);
  const data = feed.open();
  const place = { step: 1, shard: 2 };
  throws(() => feed.at(place, () => data.train.batch([0])), {
    code: "program-threw",
    message: /data of step 1, shard 2: Error: record 7 is broken/,
  });
  throws(() => data.test.batch([0]), /record 7/);
});

test("a damaged record is an error that names its file and number, once it is used", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-feed-data-"));
  t.after(() => rm(folder, { recursive: true }));
  const feature = (length: number) => ({ dtype: "float32" as const, shape: [length] });
  const sample = { inputs: new Uint8Array(8), labels: new Uint8Array(4) };
  await writeDataset(folder, {
    features: { inputs: feature(2), labels: feature(1) },
    splits: { train: Array.from({ length: samples }, () => sample), test: [sample] },
  });
  const file = join(folder, "train-00000.tfrecord");
  const bytes = await readFile(file);
  bytes[Math.floor((bytes.length / samples) * 7.5)]! ^= 4;
  await writeFile(file, bytes);
  const { feed } = await open(t, "", folder, readsRecords);
  const data = feed.open();
  const named: string[] = [];
  for (const place of [0, 1, 2].flatMap(everyShard)) {
    const indices = shardSamples({ ...job, samples, ...place });
    try {
      feed.at(place, () => data.train.batch(indices));
      equal(indices.includes(7), false);
    } catch (error) {
      const { code, message } = error as { readonly code: string; readonly message: string };
      named.push(`${code} ${indices.includes(7)} ${message}`);
    }
  }
  match(named[0] ?? "", /^record-damaged true .*train-00000\.tfrecord, record 7 at byte \d+/);
});

test("data that cannot be opened, and batches of another shape, are errors", async (t) => {
  const { feed } = await open(t, inMemory, "none");
  throws(() => feed.open(), { code: "program-threw", message: /no such data/ });
  const short = "batch: () => ({ inputs: new Float32Array(1), labels: new Float32Array(2) })";
  const wrong = await open(t, short);
  const data = wrong.feed.open();
  throws(
    () => wrong.feed.at({ step: 0, shard: 0 }, () => data.train.batch([0])),
    /inputs have the dataset's shape/,
  );
});
