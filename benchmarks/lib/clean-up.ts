/** Runs a benchmark and takes away what it started, however it ends. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Platform, type PlatformOptions, startPlatform } from "@coxswain/embedded";

export class CleanUp {
  readonly #undo: (() => Promise<unknown>)[] = [];
  readonly #stop = new AbortController();

  get signal(): AbortSignal {
    return this.#stop.signal;
  }

  /** Undone in reverse order. */
  add(undo: () => Promise<unknown>): void {
    this.#undo.push(undo);
  }

  async run(): Promise<void> {
    this.#stop.abort();
    for (let undo = this.#undo.pop(); undo !== undefined; undo = this.#undo.pop())
      await undo().catch((error: unknown) => console.error(`cleaning up: ${error}`));
  }
}

/** @returns never: the process ends with 0, 1, or 130 after Ctrl-C */
export async function runBenchmark(body: (cleanUp: CleanUp) => Promise<void>): Promise<never> {
  const cleanUp = new CleanUp();
  let isInterrupted = false;
  const interrupted = new Promise<void>((resolve) => {
    for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
      process.on(signal, () => {
        isInterrupted = true;
        resolve();
      });
  });
  let code = 0;
  try {
    await Promise.race([body(cleanUp), interrupted]);
  } catch (error) {
    console.error(error);
    code = 1;
  }
  await cleanUp.run();
  process.exit(isInterrupted ? 130 : code);
}

export async function temporaryFolder(cleanUp: CleanUp): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-bench-"));
  cleanUp.add(() => rm(folder, { recursive: true, force: true }));
  return folder;
}

/** A platform that is gone with the benchmark. */
export async function startTemporaryPlatform(
  cleanUp: CleanUp,
  options: PlatformOptions,
): Promise<Platform> {
  const platform = await startPlatform(options);
  cleanUp.add(() => platform.stop());
  return platform;
}
