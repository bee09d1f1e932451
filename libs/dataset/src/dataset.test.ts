import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { permutation } from "@coxswain/domain";
import { crc32c } from "@node-rs/crc32";
import { decodeExample, encodeExample } from "./example.ts";
import { openDataset } from "./open-dataset.ts";
import { decodeRecord, encodeRecord } from "./tfrecord.ts";
import { verifyDataset } from "./verify-dataset.ts";
import { writeDataset } from "./write-dataset.ts";

const bytesOf = (text: string) => new TextEncoder().encode(text);

test("CRC-32C has the value of RFC 3720, whatever the length", () => {
  equal(crc32c(bytesOf("123456789")), 0xe3069283);
  equal(crc32c(new Uint8Array(32)), 0x8a9136aa);
  equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43);
  equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e);
});

test("a record is read back; any flipped bit in it is found", () => {
  const record = encodeRecord(bytesOf("data"));
  deepEqual(decodeRecord(record), { kind: "whole", data: bytesOf("data") });
  for (let bit = 0; bit < record.length * 8; bit += 1) {
    const broken = record.slice();
    broken[bit >> 3]! ^= 1 << (bit & 7);
    equal(decodeRecord(broken).kind, "damaged", `bit ${bit}`);
  }
});

test("an Example is as TensorFlow writes it", () => {
  const small = encodeExample({ labels: Uint8Array.of(7) });
  equal(Buffer.from(small).toString("hex"), "0a110a0f0a066c6162656c7312050a030a0107");
  const data = encodeExample({ labels: Uint8Array.of(7), inputs: new Uint8Array(200).fill(1) });
  const decoded = decodeExample(data)!;
  deepEqual([[...decoded["labels"]!], decoded["inputs"]!.length], [[7], 200]);
  equal(decodeExample(Uint8Array.of(0x08, 1)), undefined);
  equal(decodeExample(data.subarray(0, 40)), undefined);
});

const features = {
  inputs: { dtype: "uint8", shape: [3], divideBy: 255 },
  labels: { dtype: "uint8", shape: [], classes: 10 },
} as const;
const sampleOf = (i: number) => ({
  inputs: Uint8Array.of(i, i + 1, 255),
  labels: Uint8Array.of(i % 10),
});
const count = (length: number) => Array.from({ length }, (_, i) => sampleOf(i));

async function folderOf(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-dataset-"));
  t.after(() => rm(folder, { recursive: true }));
  return folder;
}

async function written(t: TestContext) {
  const folder = await folderOf(t);
  const source = {
    features: { ...features } as never,
    splits: { train: count(50), test: count(4) },
  };
  const manifest = await writeDataset(folder, source, 500);
  return { folder, manifest, source };
}

test("samples are read in any order from many files, decoded as the features say", async (t) => {
  const { folder, manifest } = await written(t);
  ok(manifest.splits.train.length > 4);
  const data = await openDataset(folder);
  deepEqual([data.inputShape, data.labelShape, data.train.samples], [[3], [10], 50]);
  const { inputs, labels } = await data.train.read([49, 0, 23]);
  const shares = [49, 50, 255, 0, 1, 255, 23, 24, 255].map((value) => Math.fround(value / 255));
  deepEqual([...inputs], shares);
  deepEqual([labels[9], labels[10], labels[23]], [1, 1, 1]);
  equal(
    labels.reduce((sum, value) => sum + value),
    3,
  );
  deepEqual(await verifyDataset(data), { records: 54, damaged: [] });
});

test("the same samples give the same files, and a file URL names them too", async (t) => {
  const { folder, source } = await written(t);
  const again = await folderOf(t);
  await writeDataset(again, source, 500);
  const read = (where: string) => readFile(join(where, "dataset.json"), "utf8");
  equal(await read(again), await read(folder));
  equal((await openDataset(`file://${folder}`)).test.samples, 4);
});

test("records of several sizes are found by their index", async (t) => {
  const folder = await folderOf(t);
  const records = [3, 300, 5].map((length, i) =>
    encodeRecord(
      encodeExample({
        inputs: Uint8Array.of(i),
        labels: Uint8Array.of(i),
        more: new Uint8Array(length),
      }),
    ),
  );
  let offset = 0;
  const index = records.map(({ length }) => {
    offset += length;
    return `${offset - length} ${length}\n`;
  });
  await writeFile(join(folder, "a.tfrecord"), Buffer.concat(records));
  await writeFile(join(folder, "a.tfrecord.idx"), index.join(""));
  const shard = { file: "a.tfrecord", records: 3, bytes: offset, sha256: "0".repeat(64) };
  const plain = { dtype: "uint8", shape: [1] };
  const manifest = {
    format: "coxswain-dataset-1",
    features: { inputs: plain, labels: plain },
    splits: { train: [shard], test: [shard] },
  };
  await writeFile(join(folder, "dataset.json"), JSON.stringify(manifest));
  const data = await openDataset(folder);
  deepEqual([...(await data.train.read([2, 0, 1])).inputs], [2, 0, 1]);
});

test("written again, a dataset has no file of the one before; broken off, it is none", async (t) => {
  const { folder, source } = await written(t);
  const few = { ...source, splits: { train: count(2), test: count(1) } };
  await writeDataset(folder, few, 500);
  const files = ["test-00000.tfrecord", "train-00000.tfrecord"].flatMap((file) => [
    file,
    `${file}.idx`,
  ]);
  deepEqual((await readdir(folder)).sort(), ["dataset.json", ...files]);
  const broken = function* () {
    yield* count(1);
    throw new Error("no more");
  };
  await rejects(
    writeDataset(folder, { ...source, splits: { train: broken(), test: count(1) } }),
    /no more/,
  );
  await rejects(openDataset(folder), { code: "dataset-invalid" });
});

test("a damaged record is named with its file, number and offset, and only it fails", async (t) => {
  const { folder, manifest } = await written(t);
  const { file, recordBytes, records } = manifest.splits.train[1]!;
  const path = join(folder, file);
  const bytes = await readFile(path);
  bytes[2 * recordBytes! + 20]! ^= 4;
  await writeFile(path, bytes);
  const data = await openDataset(folder);
  const index = manifest.splits.train[0]!.records + 2;
  await rejects(data.train.read([0, index]), (error: Error & { code: string; details: object }) => {
    equal(error.code, "record-damaged");
    deepEqual(error.details, { file, record: 2, offset: 2 * recordBytes! });
    match(error.message, /train-00001.tfrecord, record 2 at byte \d+: the checksum of its data/);
    return true;
  });
  await data.train.read([index - 1, index + 1]);
  await writeFile(path, bytes.subarray(0, bytes.length - 1));
  const { damaged } = await verifyDataset(data);
  deepEqual(
    damaged.map(({ details }) => details["record"]),
    [2, records - 1],
  );
});

test("what is no dataset is refused with what is wrong", async (t) => {
  const folder = await folderOf(t);
  await rejects(openDataset(folder), { code: "dataset-invalid", message: /dataset.json/ });
  await writeFile(join(folder, "dataset.json"), "{");
  await rejects(openDataset(folder), { code: "dataset-invalid", message: /no JSON/ });
  await writeFile(join(folder, "dataset.json"), `{"format":"coxswain-dataset-1"}`);
  await rejects(openDataset(folder), { code: "dataset-invalid" });
  await rejects(openDataset("relative"), { code: "dataset-invalid", message: /absolute/ });
  const wrong = {
    features: features as never,
    splits: { train: [{ ...sampleOf(1), labels: new Uint8Array(2) }], test: [] },
  };
  await rejects(writeDataset(folder, wrong), { code: "dataset-invalid" });
});

test("the order of a billion samples needs no memory, and repeats none", () => {
  const samples = 1_000_000_000;
  const before = process.memoryUsage().heapUsed;
  const order = permutation(7, 3, samples);
  const seen = new Set<number>();
  for (let i = 0; i < 20_000; i += 1) {
    const index = order(i * 50_000);
    ok(Number.isInteger(index) && index >= 0 && index < samples);
    seen.add(index);
  }
  equal(seen.size, 20_000);
  ok(process.memoryUsage().heapUsed - before < 64 * 1024 * 1024);
});
