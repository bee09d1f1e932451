/**
 * The whole platform on one machine: nats-server, the five services, one or more nodes. The same
 * services as in a cluster; only the addresses differ.
 */
import { mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { availableParallelism, hostname, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { AppError } from "@coxswain/domain";
import { type ReadyFacts, ServiceChild } from "./child.ts";
import { claimPort } from "./nats-server.ts";
import { SupervisedNats } from "./supervised-nats.ts";

export interface PlatformOptions {
  readonly dataDir: string;
  readonly natsBinary: string;
  readonly cacheDir: string;
  /** Port of the HTTP API; 0 (default) takes a free one. */
  readonly port?: number;
  /** Nodes to pretend; the machine is divided among them. Default 1. */
  readonly nodes?: number;
  /** Environment for the services, such as PATH and HOME. */
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly onEvent?: (sentence: string) => void;
  /** Between nats-server and everybody else: gives the address that they get instead. */
  readonly throughProxy?: (natsUrl: string) => Promise<string>;
}

export interface PlatformFile {
  readonly apiUrl: string;
  readonly natsUrl: string;
  readonly supervisorPid: number;
  readonly pids: Readonly<Record<string, number>>;
  readonly dataDir: string;
}

export interface Platform {
  readonly apiUrl: string;
  readonly natsUrl: string;
  readonly dataDir: string;
  readonly services: readonly string[];
  /** Resolves, if ever, when a service was given up: nothing will go on from then. */
  readonly failed: Promise<AppError>;
  pidOf(service: string): number | undefined;
  /** SIGKILL to a service or to "nats-server"; it is started again. */
  kill(service: string): Promise<void>;
  /** Ends everything, workers too. Safe to call twice. */
  stop(): Promise<void>;
}

const root = resolve(import.meta.dirname, "../../..");
/** A killed process is gone within milliseconds; on a machine that swaps, within seconds. */
const killAttemptsMax = 250;
const killPauseMs = 20;
const entryOf = (service: string) => join(root, "services", service, "src/main.ts");

/** @throws AppError `port-in-use`, `setup-failed` */
export async function startPlatform(options: PlatformOptions): Promise<Platform> {
  const dataDir = resolve(options.dataDir);
  await mkdir(join(dataDir, "logs"), { recursive: true });
  await refuseSecond(dataDir);
  if (options.port) await claimPort(options.port);
  const nats = new SupervisedNats({
    binary: options.natsBinary,
    dataDir,
    ...(options.onEvent === undefined ? {} : { onEvent: options.onEvent }),
  });
  await nats.start(0);
  const natsUrl = (await options.throughProxy?.(nats.url)) ?? nats.url;
  const failed = Promise.withResolvers<AppError>();
  const children = childrenOf(options, dataDir, natsUrl, failed.resolve);
  const stop = async () => {
    for (const child of children) child.expectEnd();
    nats.expectEnd();
    await Promise.all(
      children.filter(({ name }) => name.startsWith("trainer")).map((child) => child.stop()),
    );
    await Promise.all(children.map((child) => child.stop()));
    await nats.stop();
    await killWorkers(dataDir);
    await rm(join(dataDir, "platform.json"), { force: true });
  };
  try {
    const facts = await Promise.all(children.map((child) => child.start()));
    const apiUrl = `http://127.0.0.1:${portOf(children, facts)}`;
    let stopping: Promise<void> | undefined;
    const platform: Platform = {
      apiUrl,
      natsUrl: nats.url,
      dataDir,
      services: children.map(({ name }) => name),
      failed: failed.promise,
      pidOf: (service) =>
        service === "nats-server" ? nats.pid : children.find(({ name }) => name === service)?.pid,
      kill: async (service) => {
        if (service === "nats-server") await nats.kill();
        else children.find(({ name }) => name === service)?.kill();
      },
      stop: () => {
        stopping ??= stop();
        return stopping;
      },
    };
    await writePlatformFile(platform);
    return platform;
  } catch (error) {
    await stop();
    throw error;
  }
}

function portOf(children: readonly ServiceChild[], facts: readonly ReadyFacts[]): number {
  return facts[children.findIndex(({ name }) => name === "job-api")]?.port ?? 0;
}

function childrenOf(
  options: PlatformOptions,
  dataDir: string,
  natsUrl: string,
  onFailed: (error: AppError) => void,
): ServiceChild[] {
  const inherited = Object.fromEntries(
    Object.entries(options.environment).filter(
      (entry): entry is [string, string] => entry[1] !== undefined,
    ),
  );
  const common = {
    ...inherited,
    NATS_URL: natsUrl,
    STORE_URL: pathToFileURL(join(dataDir, "store")).href,
    HEALTH_PORT: "0",
    NODE_COMPILE_CACHE: join(options.cacheDir, "compile-cache"),
  };
  const onExit = (name: string, how: string) =>
    options.onEvent?.(`${name} ended (${how}); it is started again`);
  const onGivenUp = (error: AppError) => {
    options.onEvent?.(error.message);
    onFailed(error);
  };
  const child = (
    name: string,
    service: string,
    environment: Readonly<Record<string, string>> = {},
  ) =>
    new ServiceChild(
      { name, entry: entryOf(service), environment: { ...common, ...environment } },
      join(dataDir, "logs"),
      { onExit, onGivenUp },
    );
  const nodes = options.nodes ?? 1;
  // A port that is taken again after a restart: clients hold its address.
  const apiPort = String(options.port ?? 0);
  return [
    child("job-api", "job-api", { HTTP_PORT: apiPort }),
    child("scheduler", "scheduler"),
    child("checkpoint", "checkpoint"),
    ...Array.from({ length: nodes }, (_, index) =>
      child(
        nodes === 1 ? "trainer" : `trainer-${index + 1}`,
        "trainer",
        nodeEnvironment(options, dataDir, index, nodes),
      ),
    ),
    child("autoscaler", "autoscaler"),
  ];
}

function nodeEnvironment(
  options: PlatformOptions,
  dataDir: string,
  index: number,
  nodes: number,
): Record<string, string> {
  const base =
    hostname()
      .toLowerCase()
      .replaceAll(/[^a-z0-9-]/g, "-")
      .replaceAll(/^-+|-+$/g, "")
      .slice(0, 50) || "node";
  const memoryMib = Math.floor((totalmem() / 1024 / 1024) * 0.9);
  return {
    NODE_ID: nodes === 1 ? base : `${base}-${index + 1}`,
    NODE_DIR: join(dataDir, "nodes", String(index + 1)),
    NODE_CPU: String(Math.max(1, availableParallelism()) / nodes),
    NODE_MEMORY_MIB: String(Math.floor(memoryMib / nodes)),
    // The machine's GPUs are one node's: two would give the same one to two workers.
    ...(index > 0 && { NODE_GPU: "0" }),
    COXSWAIN_CACHE_DIR: options.cacheDir,
  };
}

/** @throws AppError `setup-failed` when another supervisor holds the folder */
async function refuseSecond(dataDir: string): Promise<void> {
  const present = await readPlatformFile(dataDir);
  if (present !== undefined && isRunning(present.supervisorPid)) {
    throw new AppError(
      "setup-failed",
      `a platform with data in ${dataDir} runs already (pid ${present.supervisorPid}); end it with \`cox down\``,
    );
  }
}

/** What `cox` needs to find a platform; undefined when there is none. */
export async function readPlatformFile(dataDir: string): Promise<PlatformFile | undefined> {
  const text = await readFile(join(dataDir, "platform.json"), "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as PlatformFile);
}

async function writePlatformFile(platform: Platform): Promise<void> {
  const names = [...platform.services, "nats-server"];
  const pids = Object.fromEntries(names.map((name) => [name, platform.pidOf(name) ?? 0]));
  const file: PlatformFile = {
    apiUrl: platform.apiUrl,
    natsUrl: platform.natsUrl,
    supervisorPid: process.pid,
    pids,
    dataDir: platform.dataDir,
  };
  const path = join(platform.dataDir, "platform.json");
  await writeFile(`${path}.tmp`, `${JSON.stringify(file, undefined, 1)}\n`);
  await rename(`${path}.tmp`, path);
}

export function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch {
    return false; // No such process, or not ours.
  }
}

export interface WorkerProcess {
  readonly workerId: string;
  readonly jobId: string;
  readonly pid: number;
  readonly startTime: string;
}

/** Workers of this data folder that are alive, by the files that their agents wrote. */
export async function liveWorkers(dataDir: string): Promise<WorkerProcess[]> {
  const nodes = await readdir(join(dataDir, "nodes")).catch(() => []);
  const found: WorkerProcess[] = [];
  for (const node of nodes) {
    for (const worker of await readdir(join(dataDir, "nodes", node)).catch(() => [])) {
      const text = await readFile(
        join(dataDir, "nodes", node, worker, "worker.json"),
        "utf8",
      ).catch(() => undefined);
      if (text === undefined) continue;
      const file = JSON.parse(text) as WorkerProcess;
      const stat = await readFile(`/proc/${file.pid}/stat`, "utf8").catch(() => "");
      const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
      // The start time tells a worker from a later process with its pid.
      if (fields[0] !== "Z" && fields[19] === file.startTime) found.push(file);
    }
  }
  return found;
}

/** What outlived its agent; returns once nobody is left. */
async function killWorkers(dataDir: string): Promise<void> {
  for (let attempt = 0; attempt < killAttemptsMax; attempt += 1) {
    const left = await liveWorkers(dataDir);
    if (left.length === 0) return;
    for (const { pid } of left) {
      try {
        process.kill(pid, "SIGKILL");
      } catch {
        // It ended by itself.
      }
    }
    await delay(killPauseMs);
  }
}
