/** The set-up that demo, tests and `npm run setup` share. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync } from "node:fs";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { cacheFolder, ensureNatsServer } from "@coxswain/embedded";
import {
  availableEngines,
  type InstallOptions,
  installNative,
  measureEngine,
} from "@coxswain/engine";
import { installSharedMemory } from "@coxswain/shared-memory";

const root = resolve(import.meta.dirname, "../..");
/** It takes two seconds. */
const warmMs = 60_000;

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
  await warmModules({ cacheDir, engine: best!.name, environment, onLine });
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

interface WarmOptions extends Omit<SetUpOptions, "native"> {
  readonly cacheDir: string;
  readonly engine: string;
}

/** Once for what is installed: Node compiles the modules, so that the platform's first start is fast. */
async function warmModules(options: WarmOptions): Promise<void> {
  const { cacheDir, engine, onLine } = options;
  const folder = join(cacheDir, "compile-cache");
  const installed = await readFile(join(root, "package-lock.json"));
  const hash = createHash("sha256").update(installed).update(root).update(process.version);
  const mark = join(folder, `warm-${hash.digest("hex").slice(0, 16)}`);
  if (existsSync(mark)) return;
  onLine("set-up: compiling modules, once …");
  const environment = { ...options.environment, NODE_COMPILE_CACHE: folder };
  const script = join(import.meta.dirname, "warm-modules.ts");
  try {
    await promisify(execFile)(process.execPath, [script], { env: environment, timeout: warmMs });
    await measureEngine({ ...{ engine, cacheDir }, seconds: 0.1, batchSize: 128 }, environment);
    await writeFile(mark, "");
  } catch (error) {
    onLine(`set-up: the first start will be slower: ${String(error).slice(0, 200)}`);
  }
}
