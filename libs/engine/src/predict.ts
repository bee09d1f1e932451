/** Runs an exported model, on the wasm back end: what low-end hardware has. */
import { AppError } from "@coxswain/domain";
import { loadExportedModel } from "@coxswain/model";
import { type Tensor, tf } from "@coxswain/program";
import { openWasmEngine } from "./wasm-engine.ts";

/**
 * @param folder an exported model
 * @param inputs values of shape `shape`
 * @returns the outputs, flat, samples first
 * @throws AppError `model-not-ready` for a format that needs its program
 */
export async function predict(
  folder: string,
  inputs: Float32Array,
  shape: readonly number[],
): Promise<Float32Array> {
  const exported = await loadExportedModel(folder);
  if (exported.format !== "tfjs-layers")
    throw new AppError("model-not-ready", "a safetensors model needs its program's code to run");
  await openWasmEngine();
  const weightSpecs = exported.tensors.map(({ name, shape: weightShape }) => ({
    name,
    shape: [...weightShape],
    dtype: "float32" as const,
  }));
  const weightData = concat(exported.tensors.map(({ values }) => values));
  const model = await tf.loadLayersModel({
    load: async () => ({ modelTopology: exported.topology as never, weightSpecs, weightData }),
  });
  return tf.tidy(
    () =>
      (model.predict(tf.tensor(inputs, [...shape])) as Tensor).dataSync().slice() as Float32Array,
  );
}

function concat(parts: readonly Float32Array[]): ArrayBuffer {
  const whole = new Float32Array(parts.reduce((sum, part) => sum + part.length, 0));
  let offset = 0;
  for (const part of parts) {
    whole.set(part, offset);
    offset += part.length;
  }
  return whole.buffer;
}
