/** A nats-server of our own on loopback, with the settings that protect the log. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "@coxswain/domain";

export interface NatsServerOptions {
  readonly binary: string;
  readonly dataDir: string;
  /** 0 (default) takes a free one. */
  readonly port?: number;
  /** The server refuses to store more; keep it below the volume's size. Default 8 GiB. */
  readonly maxFileStoreBytes?: number;
}

export interface NatsServer {
  readonly url: string;
  readonly port: number;
  readonly pid: number;
  /** Resolves when the process has ended, with its exit code. */
  readonly ended: Promise<number | null>;
  /** Why it can store nothing more until it starts again; undefined while it can, or does not answer. */
  writeError(): Promise<string | undefined>;
  stop(): Promise<void>;
  /** SIGKILL, as a crash would. */
  kill(): Promise<void>;
}

/** It reads its whole store first, beside whatever else the machine does. */
const readyTimeoutMs = 30_000;
const stopTimeoutMs = 5000;
const healthTimeoutMs = 2000;
const portTriesMax = 5;

/** @throws AppError `port-in-use`, `setup-failed` */
export async function startNatsServer(options: NatsServerOptions): Promise<NatsServer> {
  await mkdir(options.dataDir, { recursive: true });
  const wanted = options.port ?? 0;
  for (let tries = 1; ; tries += 1) {
    const port = wanted === 0 ? await freePort() : await claimPort(wanted);
    try {
      return await startOn(port, options);
    } catch (error) {
      // Somebody else took a port that was free: they are chosen anew.
      const isTaken = error instanceof AppError && error.code === "port-in-use";
      if (!isTaken || tries >= portTriesMax) throw error;
    }
  }
}

async function startOn(port: number, options: NatsServerOptions): Promise<NatsServer> {
  const configFile = join(options.dataDir, "nats-server.conf");
  const logFile = join(options.dataDir, "nats-server.log");
  const monitorPort = await freePort();
  await writeFile(configFile, configOf(options, port, monitorPort));
  await rm(logFile, { force: true });
  await endStale(options.dataDir, configFile);
  const child = spawn(options.binary, ["-c", configFile, "-l", logFile], {
    stdio: "ignore",
    detached: true,
  });
  const ended = endOf(child);
  await writeFile(join(options.dataDir, "nats-server.pid"), String(child.pid ?? 0));
  await waitUntilReady(child, ended, logFile);
  const end = async (signal: NodeJS.Signals) => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    child.kill(signal);
    const hard = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
    await ended;
    clearTimeout(hard);
  };
  return {
    url: `nats://127.0.0.1:${port}`,
    port,
    pid: child.pid as number,
    ended,
    writeError: () => writeErrorOf(monitorPort),
    stop: () => end("SIGTERM"),
    kill: () => end("SIGKILL"),
  };
}

/** Ends the server of a supervisor that was killed: two must not share a store. */
async function endStale(dataDir: string, configFile: string): Promise<void> {
  const pid = Number(await readFile(join(dataDir, "nats-server.pid"), "utf8").catch(() => "0"));
  if (!(pid > 0)) return;
  const isOurs = async () =>
    (await readFile(`/proc/${pid}/cmdline`, "utf8").catch(() => "")).includes(configFile);
  const deadlineMs = performance.now() + stopTimeoutMs;
  while (await isOurs()) {
    process.kill(pid, performance.now() > deadlineMs ? "SIGKILL" : "SIGTERM");
    await delay(50);
  }
}

async function writeErrorOf(monitorPort: number): Promise<string | undefined> {
  try {
    const signal = AbortSignal.timeout(healthTimeoutMs);
    const response = await fetch(`http://127.0.0.1:${monitorPort}/healthz`, { signal });
    const { error } = (await response.json()) as { readonly error?: string };
    return error?.includes("write error") ? error : undefined;
  } catch {
    return undefined; // It starts, or ends: neither is a write error.
  }
}

function configOf(options: NatsServerOptions, port: number, monitorPort: number): string {
  const store = JSON.stringify(join(options.dataDir, "jetstream"));
  return `listen: 127.0.0.1:${port}
http: 127.0.0.1:${monitorPort}
max_payload: 1MB
write_deadline: "5s"
jetstream {
  store_dir: ${store}
  sync_interval: always
  max_file_store: ${options.maxFileStoreBytes ?? 8 * 1024 ** 3}
  max_memory_store: ${256 * 1024 ** 2}
}
`;
}

function endOf(child: ChildProcess): Promise<number | null> {
  return new Promise((resolve) => {
    child.once("error", () => resolve(null));
    child.once("exit", (code) => resolve(code));
  });
}

async function waitUntilReady(
  child: ChildProcess,
  ended: Promise<number | null>,
  logFile: string,
): Promise<void> {
  const deadlineMs = performance.now() + readyTimeoutMs;
  let hasEnded = false;
  void ended.then(() => {
    hasEnded = true;
  });
  for (;;) {
    const log = await readFile(logFile, "utf8").catch(() => ""); // Not written yet.
    if (log.includes("Server is ready")) return;
    if (hasEnded || performance.now() > deadlineMs) {
      child.kill("SIGKILL");
      const inUse = log.includes("address already in use");
      const tail = log.trim().split("\n").slice(-3).join(" | ");
      throw new AppError(
        inUse ? "port-in-use" : "setup-failed",
        `nats-server did not start: ${tail || "no output"}`,
      );
    }
    await delay(10);
  }
}

/** A port that was free a moment ago. */
export async function freePort(): Promise<number> {
  return listenOnce(0);
}

/** @throws AppError `port-in-use` */
export async function claimPort(port: number): Promise<number> {
  return listenOnce(port);
}

function listenOnce(port: number): Promise<number> {
  return new Promise((resolve, reject) => {
    const server = createServer();
    server.once("error", (cause) =>
      reject(
        new AppError("port-in-use", `port ${port} on 127.0.0.1 is taken`, {
          cause,
          details: { port },
        }),
      ),
    );
    server.listen({ port, host: "127.0.0.1", exclusive: true }, () => {
      const address = server.address();
      const taken = typeof address === "object" && address !== null ? address.port : port;
      server.close(() => resolve(taken));
    });
  });
}
