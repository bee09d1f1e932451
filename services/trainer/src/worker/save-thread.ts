/**
 * The thread of a worker that writes its parts of checkpoints: it copies them out of the memory that
 * the compute thread shares with it, hashes them and puts them into the store. What lies there
 * already, with the newest checkpoint, is not written again.
 */
import { createHash } from "node:crypto";
import { setImmediate as breathe, setTimeout as delay } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { AppError } from "@coxswain/domain";
import { type CheckpointPart, openStore, readManifest } from "@coxswain/store";
import { copyState, vectorsOf } from "../exchange/memory.ts";
import { ChangeWatch } from "./change-watch.ts";
import type {
  Saved,
  SaveReply,
  SaveRequest,
  SaveThreadOptions,
  Snapshot,
} from "./save-messages.ts";
import { WarmBuffers } from "./warm-buffers.ts";

const options = workerData as SaveThreadOptions;
const port = parentPort!;
const store = openStore(options.storeUrl);
const vectors = vectorsOf(options.areas);
const copied = new Int32Array(options.copied);
const watch = new ChangeWatch();
/** A part, and the parameters beside it. */
const buffers = new WarmBuffers(2);
for (const floats of options.warmFloats) buffers.giveBack(new Float32Array(floats).fill(0));
const chunkBytes = 1024 * 1024;
const retryMs = 2000;

interface Copy {
  readonly part: Float32Array<ArrayBuffer>;
  /** All parameters, for their hash. */
  readonly parameters: Float32Array<ArrayBuffer>;
}

const copies = new Map<number, PromiseWithResolvers<Copy>>();

function copyOf(id: number): PromiseWithResolvers<Copy> {
  let copy = copies.get(id);
  if (copy === undefined) {
    copy = Promise.withResolvers();
    copies.set(id, copy);
  }
  return copy;
}

/** At once: the compute thread may be waiting for it. */
function take({ id, from, to }: Snapshot): void {
  const floats = vectors.parameters.length;
  const part = copyState(vectors, from, to, buffers.take(to - from));
  const isWhole = from === 0 && to >= floats;
  const parameters = isWhole
    ? part.subarray(0, floats)
    : copyState(vectors, 0, floats, buffers.take(floats));
  Atomics.add(copied, 0, 1);
  Atomics.notify(copied, 0);
  copyOf(id).resolve({ part, parameters });
}

function bytesOf(floats: Float32Array<ArrayBuffer>): Uint8Array {
  return new Uint8Array(floats.buffer, floats.byteOffset, floats.byteLength);
}

function* chunksOf(floats: Float32Array<ArrayBuffer>): Generator<Uint8Array> {
  const bytes = bytesOf(floats);
  for (let offset = 0; offset < bytes.length; offset += chunkBytes)
    yield bytes.subarray(offset, offset + chunkBytes);
}

/** Piece by piece: another snapshot may be asked for meanwhile. */
async function hashOf(floats: Float32Array<ArrayBuffer>): Promise<string> {
  const hash = createHash("sha256");
  for (const chunk of chunksOf(floats)) {
    hash.update(chunk);
    await breathe();
  }
  return hash.digest("hex");
}

/** The parts of the newest checkpoint; none when it cannot be read: then everything is written. */
async function newestParts({ newest }: SaveRequest): Promise<readonly CheckpointPart[]> {
  if (newest === undefined) return [];
  return await readManifest(store, newest).then(
    ({ parts }) => parts,
    (error: unknown) => {
      if (error instanceof AppError) return [];
      throw error;
    },
  );
}

async function findSame(
  part: Float32Array<ArrayBuffer>,
  request: SaveRequest,
): Promise<CheckpointPart | undefined> {
  if (watch.hasChanged(part)) return undefined;
  const parts = (await newestParts(request)).filter(({ bytes }) => bytes === part.byteLength);
  if (parts.length === 0) return undefined;
  const sha256 = await hashOf(part);
  return parts.find((one) => one.sha256 === sha256);
}

async function save(request: SaveRequest): Promise<Saved> {
  const copy = await copyOf(request.id).promise;
  try {
    return await saveCopy(copy, request);
  } finally {
    copies.delete(request.id);
    for (const buffer of new Set([copy.part.buffer, copy.parameters.buffer]))
      buffers.giveBack(new Float32Array(buffer));
  }
}

async function saveCopy({ part, parameters }: Copy, request: SaveRequest): Promise<Saved> {
  const weightsSha256 = await hashOf(parameters);
  const same = await findSame(part, request);
  if (same !== undefined) return { ...same, weightsSha256, isReused: true };
  const written = await writeTrying(part, request);
  return { path: request.path, ...written, weightsSha256, isReused: false };
}

async function writeTrying(
  part: Float32Array<ArrayBuffer>,
  { id, path, triesMax }: SaveRequest,
): Promise<{ readonly bytes: number; readonly sha256: string }> {
  for (let tries = 1; ; tries += 1) {
    try {
      return await store.write(path, chunksOf(part));
    } catch (error) {
      if (!(error instanceof AppError) || !error.retryable || tries >= triesMax) throw error;
      if (tries === 1) fail(id, error, false);
    }
    await delay(retryMs);
  }
}

const reply = (message: SaveReply) => port.postMessage(message);

function fail(id: number, { code, message }: AppError, isLast: boolean): void {
  reply({ kind: "failed", id, isLast, code, message });
}

options.snapshots.on("message", take);
port.on("message", (request: SaveRequest) => {
  void save(request).then(
    (saved) => reply({ kind: "saved", id: request.id, saved }),
    (error: unknown) => {
      if (!(error instanceof AppError)) throw error;
      fail(request.id, error, true);
    },
  );
});
