/** A small volume in memory, to be filled up; needs root and `mount`. */
import { execFile } from "node:child_process";
import { mkdir, open, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import type { CleanUp } from "./clean-up.ts";

const run = promisify(execFile);
const pieceBytes = 1024 * 1024;

/** Undefined where it cannot be mounted: then no disk gets full. */
export async function mountSmallDisk(
  cleanUp: CleanUp,
  folder: string,
  mebibytes: number,
): Promise<string | undefined> {
  await mkdir(folder, { recursive: true });
  try {
    await run("mount", ["-t", "tmpfs", "-o", `size=${mebibytes}m`, "tmpfs", folder]);
  } catch {
    return undefined; // Not root, or not allowed.
  }
  // Whoever still writes there ends with the platform, which is stopped before.
  cleanUp.add(() => run("umount", ["--lazy", folder]));
  return folder;
}

/** Takes all the room there is; returns how to give it back. */
export async function fill(folder: string): Promise<() => Promise<void>> {
  const path = join(folder, "filler");
  const file = await open(path, "w");
  try {
    for (const piece = Buffer.alloc(pieceBytes); ; ) await file.write(piece);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
  } finally {
    await file.close();
  }
  return () => rm(path, { force: true });
}
