/**
 * The trained model as files for others: a TensorFlow.js layers model where the program used the
 * layers API, else safetensors with a manifest.
 */
import type { JobCheckpoint } from "@coxswain/domain";
import type { PayloadOf } from "@coxswain/events";
import { type Manifest, readCheckpoint, type Store, storePaths } from "@coxswain/store";

interface File {
  readonly name: string;
  readonly bytes: Uint8Array;
}

/** Safe to run twice: the same checkpoint gives the same files. */
export async function exportModel(
  store: Store,
  jobId: string,
  checkpoint: JobCheckpoint,
): Promise<PayloadOf<"model.exported">> {
  const { manifest, vector } = await readCheckpoint(store, checkpoint);
  const format = manifest.modelTopology === undefined ? "safetensors" : "tfjs-layers";
  const files =
    format === "tfjs-layers" ? layersFiles(manifest, vector) : safetensorsFiles(manifest, vector);
  const path = storePaths.model(jobId);
  const written = [];
  for (const { name, bytes } of files) {
    const { sha256 } = await store.write(`${path}/${name}`, [bytes]);
    written.push({ name, bytes: bytes.length, sha256 });
  }
  return {
    step: manifest.step,
    path,
    format,
    files: written,
    weightsSha256: manifest.weightsSha256,
  };
}

/** The weights one after the other, without the layout's padding. */
function packed(manifest: Manifest, vector: Float32Array): Uint8Array {
  const floats = manifest.segments.reduce((sum, { size }) => sum + size, 0);
  const out = new Float32Array(floats);
  let offset = 0;
  for (const segment of manifest.segments) {
    out.set(vector.subarray(segment.offset, segment.offset + segment.size), offset);
    offset += segment.size;
  }
  return new Uint8Array(out.buffer);
}

/** https://github.com/tensorflow/tfjs/tree/master/tfjs-converter: model.json with one group of weights. */
function layersFiles(manifest: Manifest, vector: Float32Array): File[] {
  const model = {
    format: "layers-model",
    generatedBy: "coxswain",
    convertedBy: null,
    modelTopology: manifest.modelTopology,
    weightsManifest: [
      {
        paths: ["weights.bin"],
        weights: manifest.segments.map(({ name, shape }) => ({ name, shape, dtype: "float32" })),
      },
    ],
    userDefinedMetadata: factsOf(manifest),
  };
  return [json("model.json", model), { name: "weights.bin", bytes: packed(manifest, vector) }];
}

/** https://github.com/huggingface/safetensors: u64 length of the header, JSON header, data. */
function safetensorsFiles(manifest: Manifest, vector: Float32Array): File[] {
  let offset = 0;
  const tensors = Object.fromEntries(
    manifest.segments.map(({ name, shape, size }) => {
      const data_offsets = [offset, offset + size * 4];
      offset += size * 4;
      return [name, { dtype: "F32", shape, data_offsets }];
    }),
  );
  const text = JSON.stringify({ __metadata__: { format: "coxswain" }, ...tensors });
  const header = Buffer.from(text.padEnd(Math.ceil(text.length / 8) * 8));
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(header.length));
  return [
    { name: "model.safetensors", bytes: Buffer.concat([length, header, packed(manifest, vector)]) },
    json("manifest.json", factsOf(manifest)),
  ];
}

function factsOf({ step, seed, engine, programHash, weightsSha256 }: Manifest) {
  return { step, seed, engine, programHash, weightsSha256 };
}

function json(name: string, value: unknown): File {
  return { name, bytes: new TextEncoder().encode(`${JSON.stringify(value, undefined, 1)}\n`) };
}
