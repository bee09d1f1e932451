/** Builds the addon with the user's compiler, once. */
import { execFile } from "node:child_process";
import { access, mkdir, rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { addonPath, addonSource } from "./shared-memory.ts";

const run = promisify(execFile);
const buildTimeoutMs = 120_000;

/** @throws AppError `setup-failed` with what is missing */
export async function installSharedMemory(
  cacheDir: string,
  flags: readonly string[] = ["-O2"],
): Promise<void> {
  const path = await addonPath(cacheDir);
  const isThere = await access(path).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  if (process.platform !== "linux")
    throw new AppError(
      "setup-failed",
      `memory is shared on Linux only, this is ${process.platform}`,
    );
  const temporary = `${path}.${process.pid}`;
  try {
    await mkdir(cacheDir, { recursive: true });
    await build(temporary, flags);
    await rename(temporary, path);
  } catch (cause) {
    const { code, stderr, message } = cause as NodeJS.ErrnoException & { readonly stderr?: string };
    const words = code === "ENOENT" ? "there is no g++" : (stderr || message).trim().slice(0, 300);
    throw new AppError("setup-failed", `shared memory cannot be built: ${words}`, { cause });
  } finally {
    await rm(temporary, { force: true }).catch(() => undefined); // There is no such folder.
  }
}

async function build(target: string, flags: readonly string[]): Promise<void> {
  const require = createRequire(import.meta.url);
  const headers = join(dirname(require.resolve("node-api-headers/package.json")), "include");
  const common = ["-std=c++17", "-fPIC", "-shared", "-Wall", "-Wextra", "-DNAPI_VERSION=8"];
  await run("g++", [...common, ...flags, `-I${headers}`, addonSource.pathname, "-o", target], {
    timeout: buildTimeoutMs,
  });
}
