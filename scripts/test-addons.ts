/**
 * The addons under the address and undefined-behaviour sanitizers: `npm run test:addons`. Builds both
 * anew, into a folder of its own, and runs the tests that call them.
 */
import { execFile, spawn } from "node:child_process";
import { mkdir, mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { isAbsolute, join } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { cacheFolder } from "@coxswain/embedded";
import { buildAddon, installNative, nativePlace } from "@coxswain/engine";
import { installSharedMemory } from "@coxswain/shared-memory";

const tests = [
  "libs/shared-memory/**/*.test.ts",
  "libs/engine/src/native-engine.test.ts",
  "libs/engine/src/operators.test.ts",
];
const flags = ["-O1", "-g", "-fno-omit-frame-pointer", "-fsanitize=address,undefined"];
/** Everything is several times slower. */
const testTimeoutMs = 300_000;

/** The runtime that must be there before anything else of the process. */
async function findRuntime(): Promise<string> {
  const { stdout } = await promisify(execFile)("g++", ["-print-file-name=libasan.so"]);
  const path = stdout.trim();
  if (isAbsolute(path)) return path;
  throw new AppError("setup-failed", "g++ has no address sanitizer; install libasan");
}

/** A cache with TensorFlow as it is installed, and our addons as they are built here. */
async function buildCache(cacheDir: string): Promise<void> {
  const installedIn = cacheFolder(process.env);
  const onProgress = (line: string) => console.error(line);
  await installNative({ cacheDir: installedIn, environment: process.env, onProgress });
  const [installed, place] = [await nativePlace(installedIn), await nativePlace(cacheDir)];
  await mkdir(place.tensorflow, { recursive: true });
  for (const name of ["lib", "include", "complete"])
    await symlink(join(installed.tensorflow, name), join(place.tensorflow, name));
  await Promise.all([buildAddon(place, flags), installSharedMemory(cacheDir, flags)]);
}

async function runTests(environment: Readonly<Record<string, string>>): Promise<number> {
  const args = ["--test", `--test-timeout=${testTimeoutMs}`, "--test-concurrency=1", ...tests];
  const env = { ...process.env, ...environment };
  const child = spawn(process.execPath, args, { stdio: "inherit", env });
  return new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
}

const cacheDir = await mkdtemp(join(tmpdir(), "coxswain-sanitized-"));
let code = 1;
try {
  const sanitized = {
    LD_PRELOAD: await findRuntime(),
    // Node and TensorFlow keep what they have until the end, on purpose.
    ASAN_OPTIONS: "detect_leaks=0",
    UBSAN_OPTIONS: "halt_on_error=1:print_stacktrace=1",
  };
  // The builds open what they have built.
  Object.assign(process.env, sanitized);
  await buildCache(cacheDir);
  code = await runTests({ COXSWAIN_CACHE_DIR: cacheDir });
} catch (error) {
  console.error(error instanceof AppError ? `${error.message}\nWhat to do: ${error.fix}` : error);
} finally {
  await rm(cacheDir, { recursive: true, force: true });
}
process.exit(code);
