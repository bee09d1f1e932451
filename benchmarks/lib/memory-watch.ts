/** How the memory of long-lived processes grows. */
import { readFile } from "node:fs/promises";
import { median } from "./numbers.ts";

interface Sample {
  readonly atMs: number;
  readonly pid: number;
  readonly mib: number;
}

const intervalMs = 2000;

/** Resident memory of a process in MiB; undefined when it is gone. */
export async function residentMib(pid: number): Promise<number | undefined> {
  const text = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
  const kib = /^VmRSS:\s+(\d+) kB/m.exec(text)?.[1];
  return kib === undefined ? undefined : Number(kib) / 1024;
}

export class MemoryWatch {
  readonly #names: readonly string[];
  readonly #pidOf: (name: string) => number | undefined;
  readonly #samples = new Map<string, Sample[]>();
  readonly #timer: NodeJS.Timeout;

  constructor(names: readonly string[], pidOf: (name: string) => number | undefined) {
    this.#names = names;
    this.#pidOf = pidOf;
    this.#timer = setInterval(() => void this.#look(), intervalMs);
  }

  async #look(): Promise<void> {
    for (const name of this.#names) {
      const pid = this.#pidOf(name);
      const mib = pid === undefined ? undefined : await residentMib(pid);
      if (pid === undefined || mib === undefined) continue;
      const samples = this.#samples.get(name) ?? [];
      samples.push({ atMs: performance.now(), pid, mib });
      this.#samples.set(name, samples);
    }
  }

  stop(): void {
    clearInterval(this.#timer);
  }

  /** MiB per minute while the last process of each name lived: its last third against its middle third. */
  slopes(): Readonly<Record<string, number | null>> {
    return Object.fromEntries(
      this.#names.map((name) => {
        const all = this.#samples.get(name) ?? [];
        const own = all.filter(({ pid }) => pid === all.at(-1)?.pid);
        const third = Math.floor(own.length / 3);
        if (third < 3) return [name, null];
        const [middle, last] = [own.slice(third, 2 * third), own.slice(2 * third)];
        const level = (samples: readonly Sample[]) => median(samples.map(({ mib }) => mib));
        const minutes = (last.at(-1)!.atMs - middle[0]!.atMs) / 2 / 60_000;
        return [name, Math.round(((level(last) - level(middle)) / minutes) * 10) / 10];
      }),
    );
  }
}
