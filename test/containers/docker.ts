/** The engine that these tests run on, if there is one. */
import { execFile, spawnSync } from "node:child_process";
import { resolve } from "node:path";
import { promisify } from "node:util";

const infoTimeoutMs = 5000;
const commandTimeoutMs = 240_000;
const outputBytesMax = 16 * 1024 * 1024;

export const root = resolve(import.meta.dirname, "../..");

const isReachable =
  spawnSync("docker", ["info"], { stdio: "ignore", timeout: infoTimeoutMs }).status === 0;
if (!isReachable && process.env["REQUIRE_DOCKER"] === "1")
  throw new Error("REQUIRE_DOCKER=1, but `docker info` fails");

/** For `test(name, { skip }, …)`. */
export const skip = isReachable ? false : "no Docker engine answers `docker info`";

/** Runs `docker …` and gives what it prints. @throws Error with what it complains of */
export async function docker(
  args: readonly string[],
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const { stdout } = await promisify(execFile)("docker", args, {
    cwd: root,
    env: { ...process.env, ...environment },
    timeout: commandTimeoutMs,
    maxBuffer: outputBytesMax,
  });
  return stdout.trim();
}
