/**
 * Real workers on a real bus with the real checkpoint service: what the scheduler and the agents
 * would say is said by the test.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { pathToFileURL } from "node:url";
import type { Bus } from "@coxswain/bus";
import { bundleProgram } from "@coxswain/cli";
import { type EngineSpec, isEngineAsked, type JobId, type TrainingJobSpec } from "@coxswain/domain";
import { startTestBus, type TestBus } from "@coxswain/embedded/testing";
import { availableEngines } from "@coxswain/engine";
import type { EventName, NewEvent, PayloadOf, StoredEvent } from "@coxswain/events";
import { openStore, type Store } from "@coxswain/store";
import { runCheckpoints } from "../../services/checkpoint/src/service.ts";

const main = new URL("../../services/trainer/src/worker/main.ts", import.meta.url).pathname;
const fixtures = new URL("../fixtures/", import.meta.url).pathname;
export const jobId = "tiny-000001" as JobId;

export interface WorkerProcess {
  readonly workerId: string;
  readonly process: ChildProcess;
  /** Resolves with the exit code, or the signal's name. */
  readonly ended: Promise<number | string>;
  readonly commits: () => { readonly step: number; readonly atMs: number }[];
  readonly exit: () => { readonly error?: { readonly code: string; readonly message: string } };
  readonly output: () => string;
}

export interface Cluster {
  readonly testBus: TestBus;
  readonly bus: Bus;
  readonly store: Store;
  readonly storeFolder: string;
  readonly events: readonly StoredEvent[];
  /** Lets an unhurried job train as fast as it can. */
  release(): Promise<void>;
  start(workerId: string, environment?: Record<string, string>): WorkerProcess;
  /**
   * Resolves with the first event, old or new, for which it is true; rejects when the job ends, and
   * nobody says anything of the kind any more.
   */
  event<Name extends StoredEvent["name"]>(
    name: Name,
    isIt?: (payload: PayloadOf<Name>) => boolean,
  ): Promise<PayloadOf<Name>>;
  append(event: Omit<NewEvent, "jobId" | "source"> & { readonly source?: string }): Promise<void>;
}

const specDefaults: Omit<TrainingJobSpec, "program"> = {
  data: "made-up",
  steps: 60,
  batchSize: 32,
  workers: { min: 1, max: 8 },
  shards: 8,
  seed: 7,
  resources: { cpu: 1, memory: 512, gpu: 0 },
  priority: 0,
  queue: "default",
  checkpoint: { everySteps: 1000, keep: 2 },
  exchange: "exact",
  stepTimeout: 300,
  engine: "wasm",
  parameters: {},
};

export interface ClusterOptions {
  readonly spec?: Partial<TrainingJobSpec>;
  /** A file of test/fixtures. */
  readonly program?: string;
  readonly engine?: EngineSpec;
  /** Who is placed, the one that compiles the program first. Default w0 to wd. */
  readonly placed?: readonly string[];
  /** The data comes slowly until `release()`. */
  readonly isUnhurried?: boolean;
}

export async function startCluster(t: TestContext, options: ClusterOptions = {}): Promise<Cluster> {
  const { spec = {}, program = "tiny.mjs", engine: asked = "wasm" } = options;
  const { isUnhurried = false, placed = [..."0123456789abcd"].map((name) => `w${name}`) } = options;
  // Registered before the bus's: who uses it stops before it does.
  const stop = new AbortController();
  const running = new Set<ChildProcess>();
  let checkpoints: Promise<void> | undefined;
  t.after(() => {
    for (const child of running) child.kill("SIGKILL");
    stop.abort();
    return checkpoints;
  });
  const testBus = await startTestBus(t);
  const folder = join(testBus.dataDir, "cluster");
  await mkdir(folder, { recursive: true });
  const storeFolder = join(folder, "store");
  const released = join(folder, "released");
  const store = openStore(pathToFileURL(storeFolder).href);
  const { sha256, bytes } = await bundleProgram(join(fixtures, program));
  const { bus } = testBus;
  const append: Cluster["append"] = async (event) => {
    await bus.append({ source: "scheduler", ...event, jobId } as NewEvent);
  };
  await bus.putBundle(sha256, bytes);
  await bus.bucket("secrets").put(jobId, { secret: "s3cret" });
  const job = {
    apiVersion: "coxswain.dev/v1" as const,
    kind: "TrainingJob" as const,
    metadata: { name: "tiny" },
    spec: {
      ...specDefaults,
      ...spec,
      program: `sha256:${sha256}`,
      data: isUnhurried ? `made-up#until=${released}` : "made-up",
    },
  };
  await append({ name: "job.submitted", id: `${jobId}.submitted`, payload: { job } } as never);
  const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? folder;
  const engines = (await availableEngines({ cacheDir })).map(({ name, text }) => ({
    name,
    identity: text,
  }));
  const engine = engines.find((one) => isEngineAsked(asked, one))!;
  await append({
    name: "job.placed",
    id: `${jobId}.placed.1`,
    payload: {
      epoch: 1,
      // A worker without an agent leaves when it is not placed; these are all that tests start.
      workers: placed.map((workerId) => ({ workerId, nodeId: "n1" })),
      engine,
      reason: "test",
    },
  } as never);
  const log = followEvents(testBus.bus, t);
  checkpoints = runCheckpoints({ bus, store, signal: stop.signal, log: () => undefined });
  const start: Cluster["start"] = (workerId, environment = {}) => {
    const worker = startWorker(workerId, folder, storeFolder, testBus.url, {
      COXSWAIN_ENGINE: engine.name,
      COXSWAIN_ENGINE_IDENTITY: engine.identity,
      ...environment,
    });
    running.add(worker.process);
    void worker.ended.then((end) => {
      running.delete(worker.process);
      if (end === 0) return undefined;
      const error = { code: "worker-failed", message: `ended with ${end}` };
      const payload = { workerId, nodeId: "n1", error };
      return append({
        name: "worker.lost",
        id: `${jobId}.lost.${workerId}`,
        payload,
      } as never).catch(
        () => undefined, // The bus is gone with the test.
      );
    });
    return worker;
  };
  const release = () => writeFile(released, "");
  return { testBus, bus, store, storeFolder, start, append, release, ...log };
}

function startWorker(
  workerId: string,
  folder: string,
  storeFolder: string,
  url: string,
  environment: Record<string, string>,
): WorkerProcess {
  const commitLog = join(folder, `${workerId}.commits`);
  const workerDir = join(folder, workerId);
  const child = spawn(process.execPath, [main], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      PATH: process.env["PATH"],
      NATS_URL: url,
      LOG_LEVEL: "info",
      STORE_URL: pathToFileURL(storeFolder).href,
      COXSWAIN_JOB_ID: jobId,
      COXSWAIN_WORKER_ID: workerId,
      COXSWAIN_NODE_ID: "n1",
      COXSWAIN_WORKER_DIR: workerDir,
      // Where the set-up has brought shared memory and engines.
      COXSWAIN_CACHE_DIR: process.env["COXSWAIN_CACHE_DIR"] ?? folder,
      AGENT_TIMEOUT_MS: "0",
      // A busy machine may hold a worker up for longer than the usual second.
      HEARTBEAT_TIMEOUT_MS: "5000",
      COXSWAIN_COMMIT_LOG: commitLog,
      ...environment,
    },
  });
  let output = "";
  const show = process.env["COXSWAIN_TEST_VERBOSE"] !== undefined;
  for (const stream of [child.stdout, child.stderr])
    stream.on("data", (chunk: Buffer) => {
      output += chunk.toString();
      if (show) process.stderr.write(chunk);
    });
  const ended = new Promise<number | string>((resolve) =>
    child.once("exit", (code, signal) => resolve(code ?? signal ?? "unknown")),
  );
  const lines = (text: string) => text.split("\n").filter((line) => line.startsWith("{"));
  return {
    workerId,
    process: child,
    ended,
    output: () => output,
    commits: () =>
      existsSync(commitLog)
        ? lines(readFileSync(commitLog, "utf8")).map((line) => JSON.parse(line))
        : [],
    exit: () => JSON.parse(readFileSync(join(workerDir, "exit.json"), "utf8")),
  };
}

const endings: readonly EventName[] = ["training.finished", "training.failed"];
/** What is said of a job while it trains, and not after. */
const ofTraining: readonly EventName[] = ["training.generation-formed", "training.progressed"];

function followEvents(bus: Bus, t: TestContext): Pick<Cluster, "events" | "event"> {
  const events: StoredEvent[] = [];
  const stop = new AbortController();
  let changed = Promise.withResolvers<void>();
  t.after(() => stop.abort());
  void (async () => {
    for await (const item of bus.follow({ jobId, signal: stop.signal })) {
      if (item.kind !== "event") continue;
      events.push(item.event);
      changed.resolve();
      changed = Promise.withResolvers();
    }
  })();
  return {
    events,
    event: async (name, isIt = () => true) => {
      for (;;) {
        const found = events.find((event) => event.name === name && isIt(event.payload as never));
        if (found !== undefined) return found.payload as never;
        const end = events.find((event) => endings.includes(event.name) && event.name !== name);
        if (end !== undefined && (ofTraining.includes(name) || endings.includes(name)))
          throw new Error(`${end.name} before ${name}: ${JSON.stringify(end.payload)}`);
        await changed.promise;
      }
    },
  };
}
