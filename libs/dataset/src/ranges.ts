/** Bytes of a dataset's files by range: from a folder, or from a store. */
import { closeSync, openSync, readSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";
import { AppError } from "@coxswain/domain";
import { openStore } from "@coxswain/store";

export interface Ranges {
  /** A whole small file. @throws AppError `dataset-invalid` when it is missing */
  file(name: string): Promise<Uint8Array>;
  /** Fewer bytes than asked for where the file ends before. */
  range(name: string, offset: number, length: number): Uint8Array | Promise<Uint8Array>;
}

/** Files that are kept open. */
const openFilesMax = 256;

/**
 * @param source an absolute path, file:///FOLDER, or s3://BUCKET/PREFIX
 * @throws AppError `dataset-invalid`
 */
export async function openRanges(source: string): Promise<Ranges> {
  if (isAbsolute(source)) return folderRanges(source);
  if (source.startsWith("file:///")) return folderRanges(fileURLToPath(source));
  if (!source.startsWith("s3://"))
    throw new AppError(
      "dataset-invalid",
      `data "${source}" is no absolute path, file:/// or s3://`,
    );
  const store = openStore(source);
  return {
    file: (name) => store.read(name).catch((cause: unknown) => missing(name, cause)),
    range: (name, offset, length) => store.range(name, offset, length),
  };
}

/** Reads at once: the thread has nothing else to do, and pages in memory cost microseconds. */
function folderRanges(folder: string): Ranges {
  const open = new Map<string, number>();
  const descriptorOf = (name: string): number => {
    const known = open.get(name);
    if (known !== undefined) return known;
    const [oldest] = open;
    if (oldest !== undefined && open.size >= openFilesMax) {
      closeSync(oldest[1]);
      open.delete(oldest[0]);
    }
    const descriptor = openSync(join(folder, name), "r");
    open.set(name, descriptor);
    return descriptor;
  };
  return {
    file: (name) => readFile(join(folder, name)).catch((cause: unknown) => missing(name, cause)),
    range: (name, offset, length) => {
      const bytes = Buffer.allocUnsafe(length);
      try {
        return bytes.subarray(0, readSync(descriptorOf(name), bytes, 0, length, offset));
      } catch (cause) {
        return missing(name, cause);
      }
    },
  };
}

function missing(name: string, cause: unknown): never {
  const { message } = cause as Error;
  throw new AppError("dataset-invalid", `${name} cannot be read: ${message}`, { cause });
}
