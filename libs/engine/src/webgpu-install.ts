/** Brings Dawn's bindings for Node: one file of npm's package `webgpu`, which is made for all systems. */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdir, mkdtemp, readFile, rename, rm } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import type { Installed, InstallOptions } from "./install-native.ts";
import { dawnVersion, isWebgpuInstalled, lookForAdapter, webgpuFolder } from "./webgpu-place.ts";

const run = promisify(execFile);
const timeoutMs = 600_000;
/** SHA-512 of the package, in base64, as npm's lock files have it. */
const integrity =
  "3L4GfmqJLvYUIEWJngEQY+2HQiUlAFkg8+P8NDDj3Xx5hHHIFO/r8JW+ynfqBj7kHN4mbnwO74uB+lrRtLhp4Q==";
const platforms = ["linux-x64", "linux-arm64", "darwin-universal"];

/**
 * npm knows its registry; the hash makes sure of what came.
 * @throws AppError `engine-unavailable`, also where it is brought and finds no adapter
 */
export async function installWebgpu(options: Omit<InstallOptions, "build">): Promise<Installed> {
  const { cacheDir } = options;
  const isNew = !(await isWebgpuInstalled(cacheDir));
  if (isNew) await bring(options);
  await lookForAdapter(cacheDir);
  return { isNew };
}

async function bring({ cacheDir, onProgress, environment }: Omit<InstallOptions, "build">) {
  const { platform, arch } = process;
  const name = platform === "darwin" ? "darwin-universal" : `${platform}-${arch}`;
  if (!platforms.includes(name))
    throw new AppError("engine-unavailable", `Dawn is not brought for ${name}`);
  await mkdir(cacheDir, { recursive: true });
  const folder = await mkdtemp(join(cacheDir, "fetch-"));
  try {
    onProgress(`set-up: fetching webgpu ${dawnVersion} (51 MB) …`);
    const asked = ["pack", "--silent", "--pack-destination", folder, `webgpu@${dawnVersion}`];
    const env = environment as NodeJS.ProcessEnv;
    await run("npm", asked, { cwd: folder, timeout: timeoutMs, env });
    const file = join(folder, `webgpu-${dawnVersion}.tgz`);
    const found = createHash("sha512")
      .update(await readFile(file))
      .digest("base64");
    if (found !== integrity)
      throw new AppError("engine-unavailable", `webgpu ${dawnVersion} has SHA-512 ${found}`);
    const target = join(folder, "whole");
    await mkdir(target);
    const member = `package/dist/${name}/dawn.node`;
    const strip = `--strip-components=${member.split("/").length - 1}`;
    await run("tar", ["-xzf", file, "-C", target, strip, member], { timeout: timeoutMs });
    await rm(webgpuFolder(cacheDir), { recursive: true, force: true });
    await rename(target, webgpuFolder(cacheDir));
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    const words = cause instanceof Error ? cause.message : String(cause);
    throw new AppError("engine-unavailable", `webgpu cannot be installed: ${words}`, { cause });
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** @returns whether there was anything */
export async function removeWebgpu(cacheDir: string): Promise<boolean> {
  const wasThere = await isWebgpuInstalled(cacheDir);
  await rm(webgpuFolder(cacheDir), { recursive: true, force: true });
  return wasThere;
}
