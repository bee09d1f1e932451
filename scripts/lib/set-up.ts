/** The set-up that demo, tests and `npm run setup` share. */

import { AppError } from "@coxswain/domain";
import { cacheFolder, ensureNatsServer } from "@coxswain/embedded";
import { availableEngines, type InstallOptions, installNative } from "@coxswain/engine";
import { installSharedMemory } from "@coxswain/shared-memory";

export interface SetUp {
  readonly natsBinary: string;
  readonly cacheDir: string;
  /** Name of the best engine. */
  readonly engine: string;
  readonly ms: number;
}

export interface SetUpOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly native: boolean;
  readonly onLine: (line: string) => void;
}

/** @throws AppError `setup-failed` with what was tried */
export async function setUp({ environment, native, onLine }: SetUpOptions): Promise<SetUp> {
  const startedMs = performance.now();
  const nats = await ensureNatsServer({ environment, onProgress: onLine });
  onLine(`set-up: nats-server ${nats.version} (${nats.origin})`);
  const cacheDir = cacheFolder(environment);
  await bringSharedMemory(cacheDir, onLine);
  if (native) await bringNative({ cacheDir, environment, onProgress: onLine });
  const [best] = await availableEngines({ cacheDir });
  onLine(`set-up: engine ${best!.text}`);
  return { natsBinary: nats.path, cacheDir, engine: best!.name, ms: performance.now() - startedMs };
}

/** Without it workers of one machine exchange through connections. */
async function bringSharedMemory(cacheDir: string, onLine: (line: string) => void): Promise<void> {
  try {
    await installSharedMemory(cacheDir);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    onLine(`set-up: workers will exchange through connections: ${sentenceOf(error)}`);
  }
}

const sentenceOf = (error: AppError) => error.message.replace(/^\[[a-z-]+\] /, "");

/** The platform trains without it, slower: a failure is one line. */
async function bringNative(options: InstallOptions): Promise<void> {
  try {
    await installNative(options);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    options.onProgress(`set-up: the wasm engine will train: ${sentenceOf(error)}`);
  }
}
