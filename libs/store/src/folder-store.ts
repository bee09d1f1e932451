/**
 * A store in a folder: a local disk, or a volume that all nodes mount.
 *
 * A file is written under a temporary name in its own folder, synced, renamed, and its folder
 * synced: so it is there in full, or not at all, whenever the power goes. What a killed writer left
 * behind is invisible, and swept later. Nothing outside the folder can be named: not by a path, and
 * not by a symbolic link that somebody put into it.
 */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, realpath, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative, resolve, sep } from "node:path";
import { AppError } from "@coxswain/domain";
import { assertPath, outside, temporaryMark } from "./paths.ts";
import type { OwnedStore, Store } from "./store.ts";

const pieceBytesMax = 1024 * 1024;

/** What a test replaces to make a disk full. */
export interface FolderPorts {
  readonly open: typeof open;
}

/** A store under `root`, which is made when it is missing. */
export function openFolderStore(root: string, ports: FolderPorts = { open }): OwnedStore {
  const top = resolve(root);
  const at = async <Result>(path: string, act: (place: string) => Promise<Result>) => {
    try {
      return await act(await placeOf(top, path));
    } catch (error) {
      return explain(path, error);
    }
  };
  return {
    write: (path, chunks) =>
      at(path, (place) => write(ports, place, chunks)).catch((error: unknown) => {
        if (error instanceof AppError && error.code === "checkpoint-not-found")
          throw new AppError("store-failed", `the folder of ${path} went away`, { cause: error });
        throw error;
      }),
    read: (path) => at(path, (place) => readFile(place)),
    range: (path, offset, length) => at(path, (place) => readRange(place, offset, length)),
    stream: (path) => stream(top, path),
    list: (folder) => at(folder, (place) => list(top, place)),
    remove: (path) => at(path, (place) => rm(place, { recursive: true, force: true })),
    sweep: (options) => sweep(top, options),
  };
}

/** @throws AppError `invalid-path` for one that is not inside the folder. */
async function placeOf(top: string, path: string): Promise<string> {
  assertPath(path);
  const place = join(top, ...path.split("/"));
  const real = await realpathOfExisting(top, place);
  if (real === undefined) return place; // Nothing is there yet, so no link can lead away.
  const realTop = await realpath(top);
  if (real !== realTop && !real.startsWith(realTop + sep)) throw outside(path);
  return place;
}

/** Where the deepest part of `place` that exists really lies; undefined when not even `top` does. */
async function realpathOfExisting(top: string, place: string): Promise<string | undefined> {
  for (let at = place; at.length >= top.length; at = dirname(at)) {
    try {
      return await realpath(at);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    }
  }
  return undefined;
}

function explain(path: string, cause: unknown): never {
  const { code, syscall, message } = cause as NodeJS.ErrnoException;
  if (cause instanceof AppError || syscall === undefined) throw cause; // The latter is no disk's fault.
  if (code === "ENOENT")
    throw new AppError("checkpoint-not-found", `${path} is not in the store`, { cause });
  if (code === "ENOSPC" || code === "EDQUOT")
    throw new AppError("store-full", `no room for ${path}`, { cause });
  throw new AppError("store-failed", `${path}: ${message}`, { cause });
}

async function write(ports: FolderPorts, place: string, chunks: Parameters<Store["write"]>[1]) {
  const folder = dirname(place);
  const temporary = `${place}${temporaryMark}${randomUUID()}`;
  const firstMade = await mkdir(folder, { recursive: true });
  try {
    const written = await writeSynced(ports, temporary, chunks);
    await rename(temporary, place);
    // New folders are entries of their parents, which must last as well.
    const last = firstMade === undefined ? folder : dirname(firstMade);
    for (let at = folder; at.length >= last.length; at = dirname(at)) await syncFolder(at);
    return written;
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

async function writeSynced(
  ports: FolderPorts,
  temporary: string,
  chunks: Parameters<Store["write"]>[1],
) {
  const hash = createHash("sha256");
  let bytes = 0;
  const file = await ports.open(temporary, "wx");
  try {
    for await (const chunk of chunks) {
      hash.update(chunk);
      bytes += chunk.length;
      await file.writeFile(chunk);
    }
    await file.sync();
  } finally {
    await file.close();
  }
  return { bytes, sha256: hash.digest("hex") };
}

async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}

async function readRange(place: string, offset: number, length: number): Promise<Uint8Array> {
  const file = await open(place, "r");
  try {
    const bytes = Buffer.allocUnsafe(length);
    const { bytesRead } = await file.read(bytes, 0, length, offset);
    return bytes.subarray(0, bytesRead);
  } finally {
    await file.close();
  }
}

async function* stream(top: string, path: string): AsyncGenerator<Uint8Array> {
  try {
    const place = await placeOf(top, path);
    for await (const piece of createReadStream(place, { highWaterMark: pieceBytesMax }))
      yield piece as Uint8Array;
  } catch (error) {
    explain(path, error);
  }
}

async function filesUnder(place: string) {
  const entries = await readdir(place, { recursive: true, withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      throw error;
    },
  );
  return entries
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

/** Undefined when the file was removed meanwhile. */
async function statOf(file: string) {
  return await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === "ENOENT") return undefined;
    throw error;
  });
}

async function list(top: string, place: string) {
  const listed: { readonly path: string; readonly bytes: number }[] = [];
  for (const file of await filesUnder(place)) {
    const stats = file.includes(temporaryMark) ? undefined : await statOf(file);
    if (stats !== undefined)
      listed.push({ path: relative(top, file).split(sep).join("/"), bytes: stats.size });
  }
  return listed.sort((a, b) => (a.path < b.path ? -1 : 1));
}

async function sweep(top: string, { nowMs, ageMsMin }: Parameters<OwnedStore["sweep"]>[0]) {
  let swept = 0;
  for (const file of await filesUnder(top)) {
    const stats = file.includes(temporaryMark) ? await statOf(file) : undefined;
    if (stats === undefined || nowMs - stats.mtimeMs < ageMsMin) continue;
    await rm(file, { force: true });
    swept += 1;
  }
  return swept;
}
