/**
 * A checkpoint on this machine: its parameters and optimizer slots as safetensors, and what is known
 * of it as a manifest. Every byte is compared with the hashes in the log before a file is written.
 */
import { createHash } from "node:crypto";
import { mkdir, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { JobCheckpoint } from "@coxswain/domain";
import { encodeSafetensors, type NamedTensor } from "@coxswain/model";
import { type Manifest, type ReadableStore, readCheckpoint } from "@coxswain/store";
import type { ApiClient } from "./api-client.ts";

export interface ExportedFile {
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

interface Source {
  readonly api: ApiClient;
  readonly jobId: string;
  readonly checkpoint: JobCheckpoint;
  readonly signal: AbortSignal;
}

/**
 * Writes `model.safetensors`, `optimizer.safetensors` where there are slots (`slot0.NAME`, …), and
 * `manifest.json`. Holds the state once in memory.
 *
 * @throws AppError `checkpoint-damaged`, `checkpoint-not-found`
 */
export async function exportCheckpoint(source: Source, folder: string): Promise<ExportedFile[]> {
  const { manifest, vector } = await readCheckpoint(storeOver(source), source.checkpoint);
  await mkdir(folder, { recursive: true });
  const { parts: _parts, segments: _segments, modelTopology: _topology, ...facts } = manifest;
  const metadata = {
    format: "coxswain",
    job: source.jobId,
    step: String(manifest.step),
    weightsSha256: manifest.weightsSha256,
  };
  const slots = Array.from({ length: manifest.slotCount }, (_, slot) =>
    tensorsOf(manifest, vector, slot + 1).map((tensor) => ({
      ...tensor,
      name: `slot${slot}.${tensor.name}`,
    })),
  ).flat();
  const write = (name: string, chunks: readonly Uint8Array[]) => writeWhole(folder, name, chunks);
  const files = [
    await write("model.safetensors", encodeSafetensors(tensorsOf(manifest, vector, 0), metadata)),
  ];
  if (slots.length > 0)
    files.push(await write("optimizer.safetensors", encodeSafetensors(slots, metadata)));
  const text = JSON.stringify({ job: source.jobId, ...facts, files }, undefined, 1);
  files.push(await write("manifest.json", [new TextEncoder().encode(`${text}\n`)]));
  return files;
}

/** Copy `copy` of the parameters in the vector: 0 the parameters, then one for each slot. */
function tensorsOf(manifest: Manifest, vector: Float32Array, copy: number): NamedTensor[] {
  const first = copy * manifest.parameterFloats;
  // The optimizer keeps nothing for state that is not trained.
  const segments = manifest.segments.filter(({ trained }) => copy === 0 || trained !== false);
  return segments.map(({ name, shape, offset, size }) => ({
    name,
    shape,
    values: vector.subarray(first + offset, first + offset + size),
  }));
}

/** What a checkpoint consists of, over HTTP. */
function storeOver({ api, jobId, checkpoint, signal }: Source): ReadableStore {
  const base = `/v1/jobs/${jobId}/checkpoints/${checkpoint.step}`;
  let paths: readonly string[] = [];
  return {
    read: async () => {
      const bytes = await api.bytes(`${base}/manifest`);
      const { parts } = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
      paths = parts.map(({ path }) => path);
      return bytes;
    },
    stream: (path) => piecesOf(api.stream(`${base}/parts/${paths.indexOf(path)}`, signal)),
  };
}

async function* piecesOf(body: Promise<ReadableStream<Uint8Array>>): AsyncGenerator<Uint8Array> {
  yield* await body;
}

async function writeWhole(
  folder: string,
  name: string,
  chunks: readonly Uint8Array[],
): Promise<ExportedFile> {
  const hash = createHash("sha256");
  let bytes = 0;
  for (const chunk of chunks) {
    hash.update(chunk);
    bytes += chunk.length;
  }
  const temporary = join(folder, `.${name}.tmp`);
  await writeFile(temporary, chunks, { flush: true });
  await rename(temporary, join(folder, name));
  return { name, bytes, sha256: hash.digest("hex") };
}
