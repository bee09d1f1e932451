/** Reads a model that the platform exported, without any library that could run it. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { AppError } from "@coxswain/domain";
import { decodeSafetensors, type NamedTensor } from "./safetensors.ts";

export type ExportedTensor = NamedTensor;

/** In the order of the program's weights. */
export type ExportedModel =
  | {
      readonly format: "tfjs-layers";
      /** What `tf.models.modelFromJSON` takes as `modelTopology`. */
      readonly topology: Readonly<Record<string, unknown>>;
      readonly tensors: readonly ExportedTensor[];
      /** Step, seed, engine, program, hash of the weights. */
      readonly facts: Readonly<Record<string, unknown>>;
    }
  | {
      readonly format: "safetensors";
      readonly tensors: readonly ExportedTensor[];
      readonly facts: Readonly<Record<string, unknown>>;
    };

/** @throws AppError `model-not-ready` when the folder has no model, `model-damaged` */
export async function loadExportedModel(folder: string): Promise<ExportedModel> {
  const model = await readIfThere(join(folder, "model.json"));
  if (model !== undefined) return await layersModel(folder, model);
  const safetensors = await readIfThere(join(folder, "model.safetensors"));
  if (safetensors === undefined)
    throw new AppError("model-not-ready", `${folder} has no model.json and no model.safetensors`);
  const manifest = await readIfThere(join(folder, "manifest.json"));
  return {
    format: "safetensors",
    tensors: decodeSafetensors(safetensors).tensors,
    facts: manifest === undefined ? {} : parse("manifest.json", manifest),
  };
}

async function layersModel(folder: string, bytes: Uint8Array): Promise<ExportedModel> {
  const { modelTopology, weightsManifest, userDefinedMetadata } = parse("model.json", bytes);
  const isLayers = typeof modelTopology === "object" && modelTopology !== null;
  if (!isLayers || !Array.isArray(weightsManifest))
    throw damaged("model.json has no topology or no weights");
  const tensors: ExportedTensor[] = [];
  for (const group of weightsManifest as Group[]) tensors.push(...(await groupOf(folder, group)));
  return {
    format: "tfjs-layers",
    topology: modelTopology as Readonly<Record<string, unknown>>,
    tensors,
    facts: (userDefinedMetadata ?? {}) as Readonly<Record<string, unknown>>,
  };
}

interface Group {
  readonly paths: readonly string[];
  readonly weights: readonly { readonly name: string; readonly shape: readonly number[] }[];
}

async function groupOf(folder: string, { paths, weights }: Group): Promise<ExportedTensor[]> {
  const files = paths.map(async (path) => {
    const file = /^[\w.-]+$/.test(path) ? await readIfThere(join(folder, path)) : undefined;
    if (file === undefined) throw damaged(`${path} is missing`);
    return file;
  });
  const data = Buffer.concat(await Promise.all(files));
  let offset = 0;
  const tensors = weights.map(({ name, shape }) => {
    const bytes = shape.reduce((product, length) => product * length, 4);
    const values = new Float32Array(Uint8Array.from(data.subarray(offset, offset + bytes)).buffer);
    offset += bytes;
    return { name, shape, values };
  });
  if (offset !== data.length)
    throw damaged(`the weights need ${offset} bytes, the files have ${data.length}`);
  return tensors;
}

async function readIfThere(path: string): Promise<Uint8Array | undefined> {
  return await readFile(path).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

function parse(name: string, bytes: Uint8Array): Readonly<Record<string, unknown>> {
  try {
    return JSON.parse(new TextDecoder().decode(bytes)) as Readonly<Record<string, unknown>>;
  } catch (error) {
    throw damaged(`${name} is no JSON`, error);
  }
}

function damaged(why: string, cause?: unknown): AppError {
  return new AppError("model-damaged", why, { cause });
}
