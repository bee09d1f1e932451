/** Memory of one process in another, over a range of a WebAssembly.Memory. Linux. */
import { createHash } from "node:crypto";
import { access, readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { join } from "node:path";

/** Ranges start and end on pages of WebAssembly, which hold whole pages of the system. */
export const pageBytes = 65_536;

/** What another process of this machine needs to map a range. */
export interface SharedRange {
  readonly pid: number;
  readonly fd: number;
}

/** Sleeping until another process has written. */
export interface Bells {
  /** Sleeps while the word is `value`, so many microseconds at most; it may return early. */
  wait(words: Int32Array, index: number, value: number, microseconds: number): void;
  /** Wakes whoever waits for the word, in whatever process has mapped it. */
  wake(words: Int32Array, index: number): void;
}

export interface SharedMemory extends Bells {
  /** Puts shareable pages under the range: zeros. @throws Error in the system's words */
  share(range: Uint8Array): SharedRange;
  /**
   * Puts another process's pages under the range, to read only: writing there ends the process.
   * @throws Error when that process is not there, not ours, or shares another number of bytes
   */
  map(range: Uint8Array, from: SharedRange): void;
  /** Puts private zero pages under the range again. */
  unmap(range: Uint8Array): void;
  /** CRC-32 as `zlib.crc32`, several times as fast. Absent where the processor lacks VPCLMULQDQ. */
  readonly checksum?: ((bytes: Uint8Array, before?: number) => number) | undefined;
}

interface Addon extends Bells {
  share(range: Uint8Array): number;
  map(range: Uint8Array, pid: number, fd: number): void;
  unmap(range: Uint8Array): void;
  readonly crc32?: (bytes: Uint8Array, before?: number) => number;
}

export const addonSource = new URL("../native/shared-memory.cc", import.meta.url);
const sources = [addonSource, new URL("../native/crc32.h", import.meta.url)];

/** Where the addon lies, by the hash of its sources. */
export async function addonPath(cacheDir: string): Promise<string> {
  const hash = createHash("sha256");
  for (const source of sources) hash.update(await readFile(source));
  return join(cacheDir, `shared-memory-${hash.digest("hex").slice(0, 12)}.node`);
}

/** Undefined where the addon is not installed or does not load: everything works without it, slower. */
export async function openSharedMemory(cacheDir: string): Promise<SharedMemory | undefined> {
  const path = await addonPath(cacheDir);
  try {
    await access(path);
    const addon = createRequire(import.meta.url)(path) as Addon;
    return {
      share: (range) => ({ pid: process.pid, fd: addon.share(range) }),
      map: (range, { pid, fd }) => addon.map(range, pid, fd),
      unmap: (range) => addon.unmap(range),
      wait: (...word) => addon.wait(...word),
      wake: (...word) => addon.wake(...word),
      checksum: addon.crc32,
    };
  } catch {
    return undefined; // Not installed, or built for another system.
  }
}
