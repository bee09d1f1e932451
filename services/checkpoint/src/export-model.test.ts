import { deepEqual, equal, ok, rejects } from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { JobCheckpoint } from "@coxswain/domain";
import { loadExportedModel } from "@coxswain/model";
import { tf } from "@coxswain/program";
import { type Manifest, openFolderStore, partRange, sha256Of, storePaths } from "@coxswain/store";
import { exportModel } from "./export-model.ts";

createRequire(import.meta.url)("@tensorflow/tfjs-backend-cpu");

interface Weight {
  readonly name: string;
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** Saves weights as a committed checkpoint: padded as the engine lays them out, with one slot. */
async function saved(t: TestContext, weights: readonly Weight[], modelTopology?: object) {
  const root = await mkdtemp(join(tmpdir(), "coxswain-export-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  const store = openFolderStore(root);
  let parameterFloats = 0;
  const segments = weights.map(({ name, shape, values }) => {
    const segment = { name, shape, offset: parameterFloats, size: values.length };
    parameterFloats += Math.ceil(values.length / 16) * 16;
    return segment;
  });
  const vector = new Float32Array(parameterFloats * 2).fill(9, parameterFloats);
  for (const [index, { offset }] of segments.entries()) vector.set(weights[index]!.values, offset);
  const bytes = new Uint8Array(vector.buffer);
  const parts = [];
  for (const part of [0, 1, 2]) {
    const { from, to } = partRange(vector.length, part, 3);
    const path = storePaths.part("j", 7, 1, part, 3);
    parts.push({ path, ...(await store.write(path, [bytes.subarray(from * 4, to * 4)])) });
  }
  const manifest = {
    version: 1,
    step: 7,
    seed: 1,
    engine: "wasm",
    programHash: "p",
    parameterFloats,
    slotCount: 1,
    segments,
    modelTopology,
    parts,
    weightsSha256: sha256Of(bytes.subarray(0, parameterFloats * 4)),
  } as unknown as Manifest;
  const text = new TextEncoder().encode(JSON.stringify(manifest));
  const sha256 = sha256Of(text);
  await store.write(storePaths.manifest("j", 7, sha256), [text]);
  const checkpoint = { step: 7, path: storePaths.checkpoint("j", 7), sha256 } as JobCheckpoint;
  return { root, store, checkpoint, folder: join(root, storePaths.model("j")) };
}

test("a layers model loads with tf.loadLayersModel and predicts the same", async (t) => {
  await tf.setBackend("cpu");
  const model = tf.sequential({
    layers: [
      tf.layers.conv2d({ inputShape: [8, 8, 1], filters: 3, kernelSize: 3, activation: "relu" }),
      tf.layers.flatten(),
      tf.layers.dense({ units: 5, activation: "relu" }),
      tf.layers.dense({ units: 2 }),
    ],
  });
  const weights = model.trainableWeights.map((weight) => {
    const values = weight.read();
    return {
      name: weight.originalName,
      shape: values.shape,
      values: values.dataSync() as Float32Array,
    };
  });
  const topology = JSON.parse(JSON.stringify(model.toJSON(null, false))) as object;
  const { store, checkpoint, folder } = await saved(t, weights, topology);
  const { format, files } = await exportModel(store, "j", checkpoint);
  deepEqual(
    [format, files.map(({ name }) => name)],
    ["tfjs-layers", ["weights.bin", "model.json"]],
  );

  // As TensorFlow.js's own loader over HTTP does it.
  const json = JSON.parse(await readFile(join(folder, "model.json"), "utf8"));
  const [group] = json.weightsManifest;
  const data = await readFile(join(folder, group.paths[0]));
  const loaded = await tf.loadLayersModel({
    load: () =>
      Promise.resolve({
        modelTopology: json.modelTopology,
        format: json.format,
        weightSpecs: group.weights,
        weightData: Uint8Array.from(data).buffer,
      }),
  });
  const input = tf.tensor(
    Array.from({ length: 128 }, (_, i) => Math.sin(i)),
    [2, 8, 8, 1],
  );
  const predict = (of: typeof loaded) => [
    ...(of.predict(input) as ReturnType<typeof tf.tensor>).dataSync(),
  ];
  deepEqual(predict(loaded), predict(model as never));
  ok(predict(loaded).some((value) => value !== 0));

  const read = await loadExportedModel(folder);
  equal(read.format, "tfjs-layers");
  deepEqual(read.tensors, weights);
  equal(read.facts["step"], 7);
});

const weights: Weight[] = [
  { name: "w", shape: [3, 7], values: Float32Array.from({ length: 21 }, (_, i) => i / 3) },
  { name: "b", shape: [], values: Float32Array.of(-1) },
];

test("a free-form program's weights become safetensors, without padding and slots", async (t) => {
  const { store, checkpoint, folder } = await saved(t, weights);
  const exported = await exportModel(store, "j", checkpoint);
  equal(exported.format, "safetensors");
  for (const { name, bytes, sha256 } of exported.files) {
    const file = await readFile(join(folder, name));
    deepEqual([file.length, sha256Of(file)], [bytes, sha256]);
  }
  deepEqual((await loadExportedModel(folder)).tensors, weights);
  deepEqual(await exportModel(store, "j", checkpoint), exported);
});

test("a damaged export is told from a missing one", async (t) => {
  const { store, checkpoint, folder } = await saved(t, weights);
  await rejects(loadExportedModel(folder), { code: "model-not-ready" });
  await exportModel(store, "j", checkpoint);
  await writeFile(join(folder, "model.safetensors"), "x", { flag: "a" });
  await rejects(loadExportedModel(folder), { code: "model-damaged" });
});
