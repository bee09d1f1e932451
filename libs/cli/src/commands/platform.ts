/** up, down, doctor: the platform on this machine. */
import { spawn } from "node:child_process";
import { mkdirSync, openSync } from "node:fs";
import { readFile, statfs } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "@coxswain/domain";
import {
  cacheFolder,
  claimPort,
  ensureNatsServer,
  isRunning,
  readPlatformFile,
  startPlatform,
} from "@coxswain/embedded";
import { availableEngines } from "@coxswain/engine";
import { installSharedMemory, openSharedMemory } from "@coxswain/shared-memory";
import {
  type CommonOptions,
  type Context,
  defaultDataDir,
  findPlatform,
  show,
} from "../context.ts";
import { wholeNumber } from "../io/whole-number.ts";
import { pc } from "../render/colours.ts";
import type { Add } from "./jobs.ts";

interface UpOptions extends CommonOptions {
  readonly detach?: boolean;
  readonly port: number;
  readonly nodes: number;
}

const detachTimeoutMs = 60_000;
const downTimeoutMs = 30_000;
/** An error and what to do about it. */
const saidLines = 2;
const diskBytesMin = 1024 ** 3;

export function addPlatformCommands(add: Add, context: Context): void {
  add("up", "start the platform on this machine", [
    "cox up",
    "cox up --detach --port 7070",
    "cox up --nodes 2",
  ])
    .option("--detach", "run in the background; end it with `cox down`")
    .option("--port <port>", "port of the HTTP API; 0 takes a free one", wholeNumber(0, 65535), 0)
    .option("--nodes <n>", "pretend so many nodes", wholeNumber(1), 1)
    .action((options: UpOptions) =>
      options.detach ? upDetached(context, options) : upForeground(context, options),
    );
  add("down", "end the platform that `cox up` started here", ["cox down"]).action(
    async (options: CommonOptions) => {
      const platform = await findPlatform(context, options.data);
      if (platform === undefined || !isRunning(platform.supervisorPid))
        return show(context, options, { stopped: false }, () => "no platform runs here");
      process.kill(platform.supervisorPid, "SIGTERM");
      for (
        const deadlineMs = performance.now() + downTimeoutMs;
        isRunning(platform.supervisorPid) && performance.now() < deadlineMs;
      )
        await delay(50);
      show(
        context,
        options,
        { stopped: true, dataDir: platform.dataDir },
        () => `stopped; jobs and checkpoints stay in ${platform.dataDir}`,
      );
    },
  );
  add("doctor", "check what the platform needs, and say how to mend it", [
    "cox doctor",
    "cox doctor --port 7070",
  ])
    .option("--port <port>", "a port that should be free", wholeNumber(0, 65535), 0)
    .action((options: CommonOptions & { port: number }) => doctor(context, options));
}

async function upForeground(context: Context, options: UpOptions): Promise<void> {
  const nats = await ensureNatsServer({
    environment: context.environment,
    onProgress: context.err,
  });
  const cacheDir = cacheFolder(context.environment);
  await installSharedMemory(cacheDir).catch((error: AppError) => context.err(error.message));
  const platform = await startPlatform({
    dataDir: resolve(context.workingDir, options.data ?? defaultDataDir),
    natsBinary: nats.path,
    cacheDir,
    port: options.port,
    nodes: options.nodes,
    environment: context.environment,
    onEvent: (line) => context.err(pc.yellow(line)),
  });
  show(
    context,
    options,
    { apiUrl: platform.apiUrl, natsUrl: platform.natsUrl, dataDir: platform.dataDir },
    () => `${pc.green("up")} at ${platform.apiUrl}, data in ${platform.dataDir}; Ctrl-C ends it`,
  );
  const failure = await Promise.race([platform.failed, aborted(context.signal)]);
  context.err("stopping …");
  await platform.stop();
  if (failure !== undefined) throw failure;
}

function aborted(signal: AbortSignal): Promise<undefined> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve(undefined);
    signal.addEventListener("abort", () => resolve(undefined), { once: true });
  });
}

async function upDetached(context: Context, options: UpOptions): Promise<void> {
  const dataDir = resolve(context.workingDir, options.data ?? defaultDataDir);
  const present = await readPlatformFile(dataDir);
  if (present !== undefined && isRunning(present.supervisorPid))
    return show(context, options, present, () => `runs already at ${present.apiUrl}`);
  mkdirSync(join(dataDir, "logs"), { recursive: true });
  const output = openSync(join(dataDir, "logs", "up.log"), "a");
  const entry = new URL("../main.ts", import.meta.url).pathname;
  const numbers = ["--port", String(options.port), "--nodes", String(options.nodes)];
  const args = [entry, "up", "--data", dataDir, ...numbers];
  const child = spawn(process.execPath, args, {
    detached: true,
    stdio: ["ignore", output, output],
    cwd: context.workingDir,
    env: { ...context.environment },
  });
  child.unref();
  for (const deadlineMs = performance.now() + detachTimeoutMs; performance.now() < deadlineMs; ) {
    const file = await readPlatformFile(dataDir);
    if (file !== undefined && file.supervisorPid === child.pid)
      return show(
        context,
        options,
        file,
        () => `${pc.green("up")} at ${file.apiUrl}, data in ${dataDir}; end it with \`cox down\``,
      );
    if (child.exitCode !== null) break;
    await delay(50);
  }
  const log = join(dataDir, "logs", "up.log");
  const said = (await readFile(log, "utf8").catch(() => "")).trim().split("\n").slice(-saidLines);
  throw new AppError(
    "setup-failed",
    `the platform did not come up; ${log} ends with\n${said.join("\n")}`,
  );
}

interface Check {
  readonly name: string;
  readonly isFine: boolean;
  readonly found: string;
  readonly fix: string;
}

async function doctor(
  context: Context,
  options: CommonOptions & { readonly port: number },
): Promise<void> {
  const checks = await Promise.all([
    checkNode(),
    checkNats(context),
    checkPort(options.port),
    checkDisk(context),
    checkEngine(context),
    checkExchange(context),
  ]);
  show(context, options, { ok: checks.every(({ isFine }) => isFine), checks }, () =>
    checks
      .map(
        ({ name, isFine, found, fix }) =>
          `${isFine ? pc.green("ok  ") : pc.red("bad ")} ${name.padEnd(12)} ${found}${isFine ? "" : `\n                  ${fix}`}`,
      )
      .join("\n"),
  );
  if (checks.some(({ isFine }) => !isFine))
    throw new AppError("setup-failed", "something needs mending");
}

async function checkNode(): Promise<Check> {
  const [major, minor] = process.versions.node.split(".").map(Number) as [number, number];
  return {
    name: "Node",
    isFine: major > 24 || (major === 24 && minor >= 12),
    found: process.version,
    fix: "Run `npm run setup`: it brings Node 24.",
  };
}

async function checkNats({ environment }: Context): Promise<Check> {
  const fix = "Run `npm run setup`, or set NATS_SERVER_BIN to a nats-server 2.10 or newer.";
  return ensureNatsServer({ environment }).then(
    ({ version, path, origin }) => ({
      name: "nats-server",
      isFine: true,
      found: `${version} (${origin}: ${path})`,
      fix,
    }),
    (error: Error) => ({
      name: "nats-server",
      isFine: false,
      found: error.message.split("\n")[0] ?? "",
      fix,
    }),
  );
}

async function checkPort(port: number): Promise<Check> {
  const fix = "Choose another port, or stop the program that holds it.";
  return claimPort(port).then(
    (taken) => ({
      name: "port",
      isFine: true,
      found: port === 0 ? `free ones can be had (${taken})` : `${port} is free`,
      fix,
    }),
    (error: Error) => ({ name: "port", isFine: false, found: error.message, fix }),
  );
}

async function checkDisk({ workingDir }: Context): Promise<Check> {
  const { bavail, bsize } = await statfs(workingDir);
  const free = bavail * bsize;
  return {
    name: "disk",
    isFine: free >= diskBytesMin,
    found: `${(free / 1e9).toFixed(1)} GB free`,
    fix: "Free at least 1 GB: the log and checkpoints need room.",
  };
}

async function checkEngine({ environment }: Context): Promise<Check> {
  const [best] = await availableEngines({ cacheDir: cacheFolder(environment) });
  return {
    name: "engine",
    isFine: best !== undefined,
    found:
      best?.name === "wasm"
        ? `${best.text} (\`${bringNative}\` is faster)`
        : (best?.text ?? "none"),
    fix: "Run `npm run setup`.",
  };
}

const bringNative = "cox engine install native";

/** Nothing is bad without shared memory: it is only slower. */
async function checkExchange({ environment }: Context): Promise<Check> {
  const memory = await openSharedMemory(cacheFolder(environment));
  return {
    name: "exchange",
    isFine: true,
    found:
      memory === undefined
        ? `through connections (\`${bringNative}\` brings shared memory; it needs g++)`
        : "shared memory on this machine, connections between machines",
    fix: "",
  };
}
