/** The disk that checkpoints lie on, in memory: slow, full, rotten where a fault makes it so. */
import { createHash } from "node:crypto";
import type { Clock } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import type { Store } from "@coxswain/store";
import { assertPath } from "../../../libs/store/src/paths.ts";

const pieceBytesMax = 1024 * 1024;

export class Disk {
  readonly files = new Map<string, Uint8Array>();
  /** What a fault has damaged: no reader may be given it for whole. */
  readonly rotten = new Set<string>();
  /** Of each access. */
  latencyMs = 1;
  isFull = false;

  read(path: string): Uint8Array {
    const bytes = this.files.get(path);
    if (bytes === undefined)
      throw new AppError("checkpoint-not-found", `${path} is not in the store`);
    return bytes;
  }

  /** A bit flips. */
  rot(path: string, random: number): void {
    const bytes = this.files.get(path)!.slice();
    const at = Math.floor(random * bytes.length);
    bytes[at]! ^= 1;
    this.files.set(path, bytes);
    this.rotten.add(path);
  }

  under(folder: string): string[] {
    return [...this.files.keys()]
      .filter((path) => path === folder || path.startsWith(`${folder}/`))
      .sort();
  }
}

async function collect(chunks: Parameters<Store["write"]>[1]): Promise<Uint8Array> {
  const pieces: Uint8Array[] = [];
  for await (const chunk of chunks) pieces.push(chunk.slice());
  return Buffer.concat(pieces);
}

/**
 * The disk as one process sees it. A file is there in full at the end of a write, which is when
 * the real store has synced it; a process that dies before leaves nothing.
 */
export function storeOn(disk: Disk, clock: Pick<Clock, "delay">): Store {
  const reach = async (path: string) => {
    assertPath(path);
    await clock.delay(disk.latencyMs);
  };
  return {
    write: async (path, chunks) => {
      await reach(path);
      const bytes = await collect(chunks);
      await reach(path);
      if (disk.isFull) throw new AppError("store-full", `no room for ${path}`);
      disk.files.set(path, bytes);
      disk.rotten.delete(path);
      return { bytes: bytes.length, sha256: createHash("sha256").update(bytes).digest("hex") };
    },
    read: async (path) => {
      await reach(path);
      return disk.read(path).slice();
    },
    range: async (path, offset, length) => {
      await reach(path);
      return disk.read(path).slice(offset, offset + length);
    },
    stream: async function* (path) {
      await reach(path);
      const bytes = disk.read(path);
      for (let at = 0; at < bytes.length; at += pieceBytesMax)
        yield bytes.slice(at, at + pieceBytesMax);
    },
    list: async (folder) => {
      await reach(folder);
      return disk.under(folder).map((path) => ({ path, bytes: disk.read(path).length }));
    },
    remove: async (path) => {
      await reach(path);
      for (const file of disk.under(path)) disk.files.delete(file);
    },
  };
}
