/**
 * The checkpoint format. The state vector is the parameters, then each optimizer slot: float32,
 * little-endian, [parameterFloats * (1 + slotCount)]. It is cut into parts on 64-byte boundaries;
 * the manifest names every part with its hash. What a manifest names is checked before it is used.
 */
import { createHash } from "node:crypto";
import { AppError, type JobCheckpoint } from "@coxswain/domain";
import { manifestOf, type ReadableStore } from "./store.ts";

/** Where a named parameter lies in the vector; offset and size in floats. */
export interface CheckpointSegment {
  readonly name: string;
  readonly shape: readonly number[];
  readonly offset: number;
  readonly size: number;
  /** False for state that no gradient moves. */
  readonly trained?: false | undefined;
}

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
  readonly segments: readonly CheckpointSegment[];
  /** Training samples of one epoch: the audit counts with it. */
  readonly samplesTrain?: number | undefined;
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

/** What names the bytes of a checkpoint. */
export type PartsList = Pick<Manifest, "parts" | "parameterFloats" | "slotCount" | "weightsSha256">;

type Checkpoint = Pick<JobCheckpoint, "path" | "sha256">;

/**
 * The manifest of a committed checkpoint, compared with the hash in the event.
 *
 * @throws AppError `checkpoint-damaged`, `checkpoint-not-found`
 */
export async function readManifest(
  store: ReadableStore,
  checkpoint: Checkpoint,
): Promise<Manifest> {
  const path = manifestOf(checkpoint);
  const bytes = await store.read(path);
  if (sha256Of(bytes) !== checkpoint.sha256)
    throw damaged(path, "its hash is not the committed one");
  const manifest = JSON.parse(new TextDecoder().decode(bytes)) as Manifest;
  if (manifest.version !== 1) throw damaged(path, `version ${manifest.version} is not known`);
  return manifest;
}

/**
 * Reads a checkpoint whole, every byte verified. `vector` has shape
 * [parameterFloats * (1 + slotCount)].
 *
 * @throws AppError `checkpoint-damaged` with the part that is wrong, `checkpoint-not-found`
 */
export async function readCheckpoint(store: ReadableStore, checkpoint: Checkpoint) {
  const manifest = await readManifest(store, checkpoint);
  const vector = await readParts(store, manifest, stateFloats(manifest));
  return { manifest, vector };
}

/**
 * As `readCheckpoint`, every byte verified, but gives only the parameters, shape [parameterFloats].
 *
 * @throws AppError `checkpoint-damaged`, `checkpoint-not-found`
 */
export async function readParameters(store: ReadableStore, checkpoint: Checkpoint) {
  const manifest = await readManifest(store, checkpoint);
  const parameters = await readParts(store, manifest, manifest.parameterFloats);
  return { manifest, parameters };
}

async function readParts(
  store: ReadableStore,
  list: PartsList,
  floats: number,
): Promise<Float32Array> {
  const vector = new Float32Array(floats);
  const target = new Uint8Array(vector.buffer);
  await verifyParts(store, list, (bytes, offset) => {
    if (offset < target.length) target.set(bytes.subarray(0, target.length - offset), offset);
  });
  return vector;
}

/**
 * Reads every part, piece by piece, and compares lengths and hashes: of each part, and of the
 * parameters in all of them. `onBytes` gets each piece and its offset in the vector; what it was
 * given counts only once this has returned. `onDamage` may swallow what is wrong with a part, to
 * hear of the others too.
 *
 * @throws AppError `checkpoint-damaged`, `checkpoint-not-found`
 */
export async function verifyParts(
  store: ReadableStore,
  list: PartsList,
  onBytes: (bytes: Uint8Array, offset: number) => void = () => undefined,
  onDamage: (part: CheckpointPart, error: unknown) => void = (_part, error) => {
    throw error;
  },
): Promise<void> {
  const total = stateFloats(list);
  const parameterBytes = list.parameterFloats * 4;
  const weights = createHash("sha256");
  let isWhole = true;
  for (const [index, part] of list.parts.entries()) {
    const { from, to } = partRange(total, index, list.parts.length);
    try {
      if (part.bytes !== (to - from) * 4)
        throw damaged(part.path, `${part.bytes} bytes are named, ${(to - from) * 4} are needed`);
      await verifyPart(store, part, (bytes, offset) => {
        const at = from * 4 + offset;
        if (at < parameterBytes) weights.update(bytes.subarray(0, parameterBytes - at));
        onBytes(bytes, at);
      });
    } catch (error) {
      isWhole = false;
      onDamage(part, error);
    }
  }
  if (isWhole && weights.digest("hex") !== list.weightsSha256)
    throw damaged("the parameters", "their hash is not the one that the trainer named");
}

/** What is wrong with a file of a checkpoint. */
export interface Damage {
  readonly path: string;
  readonly reason: string;
}

/**
 * Reads a checkpoint without using it. Every part that is damaged or gone is named; empty: it is
 * whole.
 *
 * @throws AppError `store-failed` when the store cannot say
 */
export async function inspectCheckpoint(
  store: ReadableStore,
  checkpoint: Checkpoint,
): Promise<readonly Damage[]> {
  const damages: Damage[] = [];
  const note = (path: string, error: unknown) => {
    if (!isDamage(error)) throw error;
    const { path: place = path } = error.details as { readonly path?: string };
    const reason =
      error.code === "checkpoint-not-found" ? "it is not in the store" : error.sentence;
    damages.push({ path: place, reason: reason.replace(`${place}: `, "") });
  };
  const ignore = () => undefined;
  try {
    const manifest = await readManifest(store, checkpoint);
    await verifyParts(store, manifest, ignore, ({ path }, error) => note(path, error));
  } catch (error) {
    note(manifestOf(checkpoint), error);
  }
  return damages;
}

async function verifyPart(
  store: ReadableStore,
  part: CheckpointPart,
  onBytes: (bytes: Uint8Array, offset: number) => void,
): Promise<void> {
  const hash = createHash("sha256");
  let bytes = 0;
  for await (const piece of store.stream(part.path)) {
    if (bytes + piece.length > part.bytes)
      throw damaged(part.path, `it is longer than its ${part.bytes} bytes`);
    hash.update(piece);
    onBytes(piece, bytes);
    bytes += piece.length;
  }
  if (bytes !== part.bytes) throw damaged(part.path, `${bytes} bytes instead of ${part.bytes}`);
  if (hash.digest("hex") !== part.sha256) throw damaged(part.path, "its hash differs");
}

function damaged(path: string, why: string): AppError {
  return new AppError("checkpoint-damaged", `${path}: ${why}`, { details: { path } });
}

/** Failures that a retry does not mend: the bytes are wrong, or gone. */
export function isDamage(error: unknown): error is AppError {
  return (
    error instanceof AppError &&
    (error.code === "checkpoint-damaged" ||
      error.code === "checkpoint-not-found" ||
      error.code === "invalid-path")
  );
}

/**
 * The newest checkpoint that is whole. What is damaged, gone or unreadable is passed over and
 * reported. Undefined when there is none, or all are damaged: the job starts at its beginning.
 *
 * @param checkpoints committed ones, oldest first
 * @throws AppError `store-failed` when none is whole, and one may be once the store is mended
 */
export async function latestWholeCheckpoint(
  store: ReadableStore,
  checkpoints: readonly JobCheckpoint[],
  onDamaged: (checkpoint: JobCheckpoint, reason: string) => void,
) {
  let mendable: AppError | undefined;
  for (const checkpoint of checkpoints.toReversed()) {
    try {
      return { checkpoint, ...(await readCheckpoint(store, checkpoint)) };
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      if (!isDamage(error)) mendable ??= error;
      onDamaged(checkpoint, error.message);
    }
  }
  if (mendable !== undefined) throw mendable;
  return undefined;
}
