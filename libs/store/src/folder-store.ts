/** A store in a folder: a local disk, or a volume that all nodes mount. */
import { createHash, randomUUID } from "node:crypto";
import { createReadStream } from "node:fs";
import { mkdir, open, readdir, readFile, rename, rm, stat } from "node:fs/promises";
import { dirname, join, relative, sep } from "node:path";
import { AppError } from "@coxswain/domain";
import type { Store } from "./store.ts";

const pieceBytesMax = 1024 * 1024;
const segmentRegExp = /^[A-Za-z0-9_-][A-Za-z0-9._-]{0,127}$/;
const temporaryMark = ".tmp-";

/** A store under `root`, which is made when it is missing. */
export function openFolderStore(root: string): Store {
  const placeOf = (path: string) => join(root, ...checkPath(path));
  return {
    write: (path, chunks) => write(placeOf(path), chunks),
    read: (path) => readFile(placeOf(path)).catch(explain(path)),
    stream: (path) => stream(placeOf(path), path),
    list: (folder) => list(root, placeOf(folder)),
    remove: (path) => rm(placeOf(path), { recursive: true, force: true }).catch(explain(path)),
  };
}

/** Segments of a path. @throws AppError `store-failed` for one that could leave the folder. */
function checkPath(path: string): string[] {
  const segments = path.split("/");
  for (const segment of segments) {
    if (!segmentRegExp.test(segment))
      throw new AppError(
        "store-failed",
        `${JSON.stringify(path.slice(0, 200))} is no path in the store`,
      );
  }
  return segments;
}

function explain(path: string): (cause: unknown) => never {
  return (cause) => {
    if (cause instanceof AppError) throw cause;
    const { code, message } = cause as NodeJS.ErrnoException;
    if (code === "ENOENT")
      throw new AppError("checkpoint-not-found", `${path} is not in the store`, { cause });
    if (code === "ENOSPC" || code === "EDQUOT")
      throw new AppError("store-full", `no room for ${path}`, { cause });
    throw new AppError("store-failed", `${path}: ${message}`, { cause });
  };
}

/** Temporary file, fsync, rename, fsync of the folder: whole, or not there. */
async function write(place: string, chunks: Iterable<Uint8Array> | AsyncIterable<Uint8Array>) {
  const folder = dirname(place);
  const temporary = `${place}${temporaryMark}${randomUUID()}`;
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    await mkdir(folder, { recursive: true });
    const file = await open(temporary, "wx");
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
    await rename(temporary, place);
    await syncFolder(folder);
  } catch (error) {
    await rm(temporary, { force: true });
    explain(place)(error);
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

async function* stream(place: string, path: string): AsyncGenerator<Uint8Array> {
  try {
    for await (const piece of createReadStream(place, { highWaterMark: pieceBytesMax }))
      yield piece as Uint8Array;
  } catch (error) {
    explain(path)(error);
  }
}

async function list(root: string, place: string) {
  const entries = await readdir(place, { recursive: true, withFileTypes: true }).catch(
    (error: NodeJS.ErrnoException) => {
      if (error.code === "ENOENT") return [];
      return explain(place)(error);
    },
  );
  const files = entries.filter((entry) => entry.isFile() && !entry.name.includes(temporaryMark));
  const listed = await Promise.all(
    files.map(async (entry) => {
      const file = join(entry.parentPath, entry.name);
      return { path: relative(root, file).split(sep).join("/"), bytes: (await stat(file)).size };
    }),
  );
  return listed.sort((a, b) => (a.path < b.path ? -1 : 1));
}
