/**
 * A Docker engine of our own, where a machine has none: Debian's packages, our data folder and our
 * socket, so that an engine that others started is left alone.
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { access, copyFile, mkdir, mkdtemp, open, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { unpackFromDebian } from "@coxswain/embedded";

const run = promisify(execFile);

const installTimeoutMs = 300_000;
const readyAttemptsMax = 150;
const readyPauseMs = 200;
const infoTimeoutMs = 5000;
const stopTimeoutMs = 20_000;
const plugins = ["docker-compose", "docker-buildx"];

export type Environment = Readonly<Record<string, string | undefined>>;

export interface DockerEngine {
  /** What a client needs to reach it. */
  readonly environment: Environment;
  /** Ends the engine and every container in it; built images stay for the next run. */
  stop(): Promise<void>;
}

export async function isDockerReachable(environment: Environment): Promise<boolean> {
  return run("docker", ["info"], { env: environment, timeout: infoTimeoutMs }).then(
    () => true,
    () => false,
  );
}

/** Debian and root only. @throws AppError `setup-failed` */
export async function startDockerEngine(options: {
  readonly folder: string;
  readonly environment: Environment;
  readonly onLine: (line: string) => void;
}): Promise<DockerEngine> {
  const { folder, onLine } = options;
  await mkdir(folder, { recursive: true });
  const environment = {
    ...options.environment,
    DOCKER_HOST: `unix://${join(folder, "docker.sock")}`,
    DOCKER_CONFIG: join(folder, "config"),
  };
  try {
    await installEngine(onLine);
    await installPlugins(folder, onLine);
  } catch (cause) {
    throw new AppError("setup-failed", `no Docker engine could be installed: ${cause}`, { cause });
  }
  if (await isDockerReachable(environment))
    throw new AppError("setup-failed", `an engine with data in ${folder} runs already`);
  const daemon = await startDaemon(folder);
  const stop = () => stopDaemon(daemon, environment);
  try {
    await waitUntilReady(daemon, folder, environment);
  } catch (error) {
    await stop();
    throw error;
  }
  onLine("set-up: Docker engine started");
  return { environment, stop };
}

async function installEngine(onLine: (line: string) => void): Promise<void> {
  const isThere = await Promise.all(
    ["dockerd", "iptables", "busybox"].map((command) => run("which", [command])),
  ).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  onLine("set-up: installing Debian's docker.io …");
  await run(
    "apt-get",
    ["install", "-y", "--no-install-recommends", "docker.io", "iptables", "busybox-static"],
    { timeout: installTimeoutMs, env: { ...process.env, DEBIAN_FRONTEND: "noninteractive" } },
  );
}

/** Debian 12 has neither plugin; Debian 13's need a libc that 12 has. */
async function installPlugins(folder: string, onLine: (line: string) => void): Promise<void> {
  const target = join(folder, "config", "cli-plugins");
  const isThere = await Promise.all(plugins.map((name) => access(join(target, name)))).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  onLine("set-up: fetching compose and buildx from Debian 13 …");
  await mkdir(target, { recursive: true });
  const temporary = await mkdtemp(join(folder, "fetch-"));
  try {
    const root = await unpackFromDebian({ folder: temporary, suite: "trixie", packages: plugins });
    const source = join(root, "usr/libexec/docker/cli-plugins");
    for (const name of await readdir(source))
      await copyFile(join(source, name), join(target, name));
  } finally {
    await rm(temporary, { recursive: true, force: true });
  }
}

async function startDaemon(folder: string): Promise<ChildProcess> {
  const log = await open(join(folder, "dockerd.log"), "w");
  const args = [
    `--data-root=${join(folder, "data")}`,
    `--exec-root=${join(folder, "exec")}`,
    `--pidfile=${join(folder, "dockerd.pid")}`,
    `--host=unix://${join(folder, "docker.sock")}`,
    "--ip=127.0.0.1",
    "--mtu=1400",
    "--log-level=warn",
  ];
  // Its own process group: a Ctrl-C of the terminal must not end it before its containers.
  const daemon = spawn("dockerd", args, { stdio: ["ignore", log.fd, log.fd], detached: true });
  await log.close();
  return daemon;
}

async function waitUntilReady(
  daemon: ChildProcess,
  folder: string,
  environment: Environment,
): Promise<void> {
  for (let attempt = 0; attempt < readyAttemptsMax && daemon.exitCode === null; attempt += 1) {
    if (await isDockerReachable(environment)) return;
    await delay(readyPauseMs);
  }
  throw new AppError("setup-failed", `dockerd did not start; see ${join(folder, "dockerd.log")}`);
}

async function stopDaemon(daemon: ChildProcess, environment: Environment): Promise<void> {
  if (daemon.exitCode !== null || daemon.signalCode !== null) return;
  const docker = (...args: string[]) => run("docker", args, { env: environment });
  const { stdout } = await docker("ps", "--all", "--quiet");
  const containers = stdout.split("\n").filter(Boolean);
  if (containers.length > 0) await docker("rm", "--force", "--volumes", ...containers);
  await docker("volume", "prune", "--force", "--filter=all=1").catch(() =>
    docker("volume", "prune", "--force"),
  );
  await docker("network", "prune", "--force");
  const ended = new Promise((resolve) => daemon.once("exit", resolve));
  daemon.kill("SIGTERM");
  const hard = setTimeout(() => daemon.kill("SIGKILL"), stopTimeoutMs);
  await ended;
  clearTimeout(hard);
}
