/**
 * The trained model as files for others: a TensorFlow.js layers model where the program used the
 * layers API, else safetensors with a manifest.
 */
import type { JobCheckpoint } from "@coxswain/domain";
import type { PayloadOf } from "@coxswain/events";
import { encodeSafetensors, type NamedTensor } from "@coxswain/model";
import { type Manifest, readParameters, type Store, storePaths } from "@coxswain/store";

interface File {
  readonly name: string;
  readonly chunks: readonly Uint8Array[];
}

/**
 * Safe to run twice: the same checkpoint gives the same files.
 *
 * @throws AppError `checkpoint-damaged`, `checkpoint-not-found`, `store-full`, `store-failed`
 */
export async function exportModel(
  store: Store,
  jobId: string,
  checkpoint: JobCheckpoint,
): Promise<PayloadOf<"model.exported">> {
  const { manifest, parameters } = await readParameters(store, checkpoint);
  // Views, not copies; the padding between the layout's segments is left out.
  const tensors = manifest.segments.map(({ name, shape, offset, size }) => ({
    name,
    shape,
    values: parameters.subarray(offset, offset + size),
  }));
  const format = manifest.modelTopology === undefined ? "safetensors" : "tfjs-layers";
  const files =
    format === "tfjs-layers" ? layersFiles(manifest, tensors) : safetensorsFiles(manifest, tensors);
  const path = storePaths.model(jobId);
  const written: PayloadOf<"model.exported">["files"] = [];
  for (const { name, chunks } of files)
    written.push({ name, ...(await store.write(`${path}/${name}`, chunks)) });
  return {
    step: manifest.step,
    path,
    format,
    files: written,
    weightsSha256: manifest.weightsSha256,
  };
}

/**
 * `tf.loadLayersModel` reads it: model.json names the topology and one group of weights.
 * https://github.com/tensorflow/tfjs/blob/master/tfjs-core/src/io/types.ts, ModelJSON
 */
function layersFiles(manifest: Manifest, tensors: readonly NamedTensor[]): File[] {
  const weights = tensors.map(({ name, shape }) => ({ name, shape, dtype: "float32" }));
  const model = {
    format: "layers-model",
    generatedBy: "coxswain",
    convertedBy: null,
    modelTopology: manifest.modelTopology,
    weightsManifest: [{ paths: ["weights.bin"], weights }],
    userDefinedMetadata: factsOf(manifest),
  };
  const chunks = tensors.map(
    ({ values }) => new Uint8Array(values.buffer, values.byteOffset, values.byteLength),
  );
  // The weights first: whoever sees model.json finds what it names.
  return [{ name: "weights.bin", chunks }, jsonFile("model.json", model)];
}

function safetensorsFiles(manifest: Manifest, tensors: readonly NamedTensor[]): File[] {
  const { step, weightsSha256 } = manifest;
  const metadata = { format: "coxswain", step: String(step), weightsSha256 };
  return [
    { name: "model.safetensors", chunks: encodeSafetensors(tensors, metadata) },
    jsonFile("manifest.json", factsOf(manifest)),
  ];
}

function factsOf({ step, seed, engine, programHash, weightsSha256 }: Manifest) {
  return { step, seed, engine, programHash, weightsSha256 };
}

function jsonFile(name: string, value: unknown): File {
  return { name, chunks: [new TextEncoder().encode(`${JSON.stringify(value, undefined, 1)}\n`)] };
}
