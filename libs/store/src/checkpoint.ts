/**
 * The checkpoint format. The state vector is the parameters, then each optimizer slot: float32,
 * little-endian, [parameterFloats * (1 + slotCount)]. It is cut into parts on 64-byte boundaries;
 * the manifest names every part with its hash. What a manifest names is checked before it is used.
 */
import { createHash } from "node:crypto";
import { AppError, assert, type JobCheckpoint } from "@coxswain/domain";
import type { Store } from "./store.ts";

/** Facts on which all parts of a checkpoint agree. */
export interface CheckpointFacts {
  readonly step: number;
  readonly steps: number;
  readonly generation: number;
  readonly seed: number;
  readonly engine: string;
  readonly programHash: string;
  readonly shards: number;
  readonly batchSize: number;
  readonly parameterFloats: number;
  readonly slotCount: number;
  readonly segments: readonly {
    readonly name: string;
    readonly shape: readonly number[];
    readonly offset: number;
    readonly size: number;
  }[];
  readonly modelTopology?: Readonly<Record<string, unknown>> | undefined;
  /** SHA-256 over the parameters' bytes alone. */
  readonly weightsSha256: string;
  readonly final: boolean;
}

export interface CheckpointPart {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
}

export interface Manifest extends CheckpointFacts {
  readonly version: 1;
  readonly parts: readonly CheckpointPart[];
}

const boundaryFloats = 16;

/** Floats `from <= i < to` of part `part` of `parts`. */
export function partRange(
  totalFloats: number,
  part: number,
  parts: number,
): { readonly from: number; readonly to: number } {
  const cut = (index: number) =>
    index >= parts
      ? totalFloats
      : Math.min(
          totalFloats,
          Math.ceil((totalFloats * index) / parts / boundaryFloats) * boundaryFloats,
        );
  return { from: cut(part), to: cut(part + 1) };
}

export function sha256Of(bytes: Uint8Array): string {
  return createHash("sha256").update(bytes).digest("hex");
}

export function stateFloats(facts: Pick<CheckpointFacts, "parameterFloats" | "slotCount">): number {
  return facts.parameterFloats * (1 + facts.slotCount);
}

/**
 * Reads a checkpoint whole, every byte verified.
 *
 * @throws AppError `checkpoint-damaged` with the part that is wrong, `checkpoint-not-found`
 */
export async function readCheckpoint(
  store: Store,
  checkpoint: { readonly path: string; readonly sha256: string },
) {
  const bytes = await store.read(`${checkpoint.path}/manifest.json`);
  if (sha256Of(bytes) !== checkpoint.sha256)
    throw damaged(`${checkpoint.path}/manifest.json`, "its hash is not the committed one");
  const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
  const vector = await readParts(store, manifest);
  return { manifest, vector };
}

/** @throws AppError `checkpoint-damaged`, `checkpoint-not-found` */
export async function readParts(
  store: Store,
  manifest: Pick<Manifest, "parts" | "parameterFloats" | "slotCount" | "weightsSha256">,
): Promise<Float32Array> {
  const total = stateFloats(manifest);
  const vector = new Float32Array(total);
  const target = new Uint8Array(vector.buffer);
  let offset = 0;
  for (const [index, part] of manifest.parts.entries()) {
    const bytes = await store.read(part.path);
    const range = partRange(total, index, manifest.parts.length);
    if (bytes.length !== part.bytes || bytes.length !== (range.to - range.from) * 4)
      throw damaged(part.path, `${bytes.length} bytes instead of ${part.bytes}`);
    if (sha256Of(bytes) !== part.sha256) throw damaged(part.path, "its hash differs");
    target.set(bytes, offset);
    offset += bytes.length;
  }
  assert(offset === target.length, "the parts cover the vector");
  const weights = sha256Of(target.subarray(0, manifest.parameterFloats * 4));
  if (weights !== manifest.weightsSha256)
    throw damaged("the weights", "their hash is not the one that the trainer named");
  return vector;
}

function damaged(path: string, why: string): AppError {
  return new AppError("checkpoint-damaged", `${path}: ${why}`, { details: { path } });
}

/**
 * The newest checkpoint that is whole. What is damaged or gone is passed over and reported.
 *
 * @param checkpoints committed ones, oldest first
 */
export async function latestWholeCheckpoint(
  store: Store,
  checkpoints: readonly JobCheckpoint[],
  onDamaged: (checkpoint: JobCheckpoint, reason: string) => void,
) {
  for (const checkpoint of checkpoints.toReversed()) {
    try {
      return { checkpoint, ...(await readCheckpoint(store, checkpoint)) };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      onDamaged(checkpoint, error.message);
    }
  }
  return undefined;
}
