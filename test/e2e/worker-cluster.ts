/**
 * Real workers on a real bus, without the other services: what the scheduler, the agents and the
 * checkpoint service would say is said by the test.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { mkdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { pathToFileURL } from "node:url";
import { type Bus, connectBus } from "@coxswain/bus";
import type { JobId, TrainingJobSpec } from "@coxswain/domain";
import { startTestBus, type TestBus } from "@coxswain/embedded/testing";
import { availableEngines } from "@coxswain/engine";
import type { NewEvent, PayloadOf, StoredEvent } from "@coxswain/events";
import { type CheckpointFacts, openStore, type Store, sha256Of, storePaths } from "@coxswain/store";

const main = new URL("../../services/trainer/src/worker/main.ts", import.meta.url).pathname;
const program = new URL("./tiny-program.mjs", import.meta.url);
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
  start(workerId: string, environment?: Record<string, string>): WorkerProcess;
  /** Resolves with the first event, old or new, for which it is true. */
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

export async function startCluster(
  t: TestContext,
  spec: Partial<TrainingJobSpec> = {},
  source?: string,
): Promise<Cluster> {
  const testBus = await startTestBus(t);
  const folder = join(testBus.dataDir, "cluster");
  await mkdir(folder, { recursive: true });
  const storeFolder = join(folder, "store");
  const store = openStore(pathToFileURL(storeFolder).href);
  const bundle = source === undefined ? await readFile(program) : Buffer.from(source);
  const hash = createHash("sha256").update(bundle).digest("hex");
  const { bus } = testBus;
  const append: Cluster["append"] = async (event) => {
    await bus.append({ source: "scheduler", ...event, jobId } as NewEvent);
  };
  await bus.putBundle(hash, bundle);
  await bus.bucket("secrets").put(jobId, { secret: "s3cret" });
  const job = {
    apiVersion: "coxswain.dev/v1" as const,
    kind: "TrainingJob" as const,
    metadata: { name: "tiny" },
    spec: { ...specDefaults, ...spec, program: `sha256:${hash}` },
  };
  await append({ name: "job.submitted", id: `${jobId}.submitted`, payload: { job } } as never);
  const [engine] = (await availableEngines({ cacheDir: folder })).filter(
    ({ name }) => name === "wasm",
  );
  await append({
    name: "job.placed",
    id: `${jobId}.placed.1`,
    payload: {
      epoch: 1,
      workers: [],
      engine: { name: "wasm", identity: engine!.text },
      reason: "test",
    },
  } as never);
  const log = followEvents(testBus.bus, t, { store, append });
  const running = new Set<ChildProcess>();
  t.after(() => {
    for (const child of running) child.kill("SIGKILL");
  });
  const start: Cluster["start"] = (workerId, environment = {}) => {
    const worker = startWorker(workerId, folder, storeFolder, testBus.url, environment);
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
  return { testBus, bus, store, storeFolder, start, append, events: log.events, event: log.event };
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
      COXSWAIN_CACHE_DIR: folder,
      COXSWAIN_ENGINE: "wasm",
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

/** Follows the job's log, and commits checkpoints as the checkpoint service would. */
function followEvents(
  bus: Bus,
  t: TestContext,
  { store, append }: Pick<Cluster, "store" | "append">,
): Pick<Cluster, "events" | "event"> {
  const events: StoredEvent[] = [];
  const stop = new AbortController();
  const parts = new Map<string, PayloadOf<"checkpoint.written">[]>();
  let changed = Promise.withResolvers<void>();
  t.after(() => stop.abort());
  void (async () => {
    for await (const item of bus.follow({ jobId, signal: stop.signal })) {
      if (item.kind !== "event") continue;
      events.push(item.event);
      if (item.event.name === "checkpoint.written") {
        const { step, generation } = item.event.payload;
        const key = `${step}.${generation}`;
        parts.set(key, [...(parts.get(key) ?? []), item.event.payload]);
        await commitWhole(store, append, parts.get(key)!);
      }
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
        await changed.promise;
      }
    },
  };
}

async function commitWhole(
  store: Store,
  append: Cluster["append"],
  written: readonly PayloadOf<"checkpoint.written">[],
): Promise<void> {
  const first = written[0]!;
  if (new Set(written.map(({ part }) => part)).size < first.parts) return;
  const parts = [...written].sort((a, b) => a.part - b.part);
  const facts = first.manifest as unknown as CheckpointFacts;
  const manifest = {
    ...facts,
    version: 1,
    parts: parts.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  await store.write(storePaths.manifest(jobId, first.step), [bytes]);
  const { generation, step } = first;
  await append({
    source: "checkpoint",
    name: "checkpoint.committed",
    id: `${jobId}.checkpoint.committed.${step}`,
    payload: {
      generation,
      step,
      path: storePaths.checkpoint(jobId, step),
      bytes: bytes.length,
      sha256: sha256Of(bytes),
      weightsSha256: facts.weightsSha256,
      final: facts.final,
    },
  } as never);
}

/** What must hold of every log: steps told once, in order, without gap or overlap. */
export function auditSteps(events: readonly StoredEvent[]): number {
  let step = 0;
  for (const event of events) {
    if (event.name === "training.generation-formed" && event.payload.cause === "restore")
      step = event.payload.fromStep;
    if (event.name !== "training.progressed") continue;
    if (event.payload.stepFrom !== step)
      throw new Error(`the log goes from step ${step} to ${event.payload.stepFrom}`);
    step = event.payload.stepTo;
  }
  return step;
}

export { connectBus };
