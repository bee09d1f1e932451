/** The part of the benchmark that runs in the cluster's own network. */
import { type ChildProcess, fork } from "node:child_process";
import { once } from "node:events";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { ApiClient, bundleProgram, type Json, readJobFile } from "@coxswain/cli";
import { ensureNatsServer, startNatsServer } from "@coxswain/embedded";
import {
  connectKube,
  type KubeObject,
  nodes,
  pods,
  podTemplates,
  type Resource,
  trainingJobDefinition,
} from "@coxswain/kube";
import pLimit from "p-limit";
import { playedNode, playedTemplate } from "../../scripts/lib/played-machines.ts";
import { type CleanUp, runBenchmark, temporaryFolder } from "../lib/clean-up.ts";
import { residentMib } from "../lib/memory-watch.ts";
import { percentile, rounded } from "../lib/numbers.ts";
import { printLastLine, printTable } from "../lib/report.ts";
import { type Usage, used, written } from "./usage.ts";

interface Size {
  readonly nodes: number;
  readonly pods: number;
  readonly workers: number;
  readonly idleSeconds: number;
}

const size: Size = JSON.parse(process.argv[2]!);
const root = resolve(import.meta.dirname, "../..");
const namespace = "bench";
const concurrency = 16;
const patienceMs = 900_000;
const pollMs = 50;

let cleanUp: CleanUp;
/** Nodes that were ready and then were not: kwok was late with their sign of life. */
const silentNodes = new Set<string>();
const kube = connectKube({ kubeconfig: process.env["KUBECONFIG"] });
const say = (sentence: string) => console.error(`${sentence} …`);

async function until(what: string, look: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + patienceMs;
  while (!look()) {
    if (performance.now() > deadlineMs) throw new Error(`gave up waiting: ${what}`);
    await delay(pollMs);
  }
}

const each = <Item>(items: readonly Item[], act: (item: Item) => Promise<unknown>) =>
  pLimit(concurrency).map(items, act);

const kindOf = (apiVersion: string, kind: string, plural: string, isNamespaced = false) =>
  ({ apiVersion, kind, plural, isNamespaced }) as Resource<KubeObject>;

async function prepareCluster(): Promise<void> {
  const definitions = kindOf(
    ...(["apiextensions.k8s.io/v1", "CustomResourceDefinition"] as const),
    "customresourcedefinitions",
  );
  await kube.create(definitions, trainingJobDefinition());
  const classes = kindOf("scheduling.k8s.io/v1", "PriorityClass", "priorityclasses");
  await kube.create(classes, {
    ...{ apiVersion: classes.apiVersion, kind: classes.kind },
    ...{ metadata: { name: "coxswain-training" }, value: -10, preemptionPolicy: "Never" },
  });
  const namespaces = kindOf("v1", "Namespace", "namespaces");
  await kube.create(namespaces, {
    ...{ apiVersion: "v1", kind: "Namespace", metadata: { name: namespace } },
  });
  await kube.create(podTemplates, await playedTemplate(namespace));
  const names = Array.from({ length: size.nodes }, (_, index) => `n${index + 1}`);
  const allocatable = { cpu: "32", memory: "256Gi" };
  await each(names, (name) => kube.create(nodes, playedNode(name, namespace, { allocatable })));
  const ready = new Set<string>();
  kube.follow(nodes, {
    signal: cleanUp.signal,
    keep: ({ metadata, status }) => {
      const isReady = status?.conditions?.some(
        (one) => one.type === "Ready" && one.status === "True",
      );
      if (isReady) ready.add(metadata.name);
      else if (ready.has(metadata.name)) silentNodes.add(metadata.name);
    },
    onChange: () => undefined,
  });
  await until("all nodes are ready", () => ready.size === size.nodes);
}

/** Forks a service and waits for its word. */
async function start(entry: string, environment: Record<string, string>) {
  const child = fork(join(root, entry), {
    stdio: ["ignore", "ignore", "inherit", "ipc"],
    execArgv: [],
    env: { ...process.env, HEALTH_PORT: "0", KUBERNETES_NAMESPACE: namespace, ...environment },
  });
  cleanUp.add(async () => {
    if (child.exitCode !== null || child.signalCode !== null) return;
    const ended = once(child, "exit");
    child.kill("SIGTERM");
    await ended;
  });
  const startedMs = performance.now();
  const ready = await answer<{ port?: number }>(child, "ready");
  return { child, port: ready.port ?? 0, ms: performance.now() - startedMs };
}

function answer<Message>(child: ChildProcess, kind: string): Promise<Message> {
  return new Promise((done, fail) => {
    const ended = () => fail(new Error(`a process ended before it said "${kind}"`));
    child.once("exit", ended);
    child.on("message", (message: Message & { kind: string }) => {
      if (message.kind !== kind) return;
      child.off("exit", ended);
      done(message);
    });
  });
}

async function usageOf(child: ChildProcess): Promise<Usage> {
  const told = answer<{ usage: Usage }>(child, "usage");
  child.send("usage");
  return (await told).usage;
}

/** When each worker's Pod was seen bound and running for the first time, and how many there are. */
function watchPods() {
  const boundAtMs = new Map<string, number>();
  const runningAtMs = new Map<string, number>();
  const jobOf = new Map<string, string>();
  const note = (times: Map<string, number>, name: string) => {
    if (!times.has(name)) times.set(name, performance.now());
  };
  const view = kube.follow(pods, {
    ...{ namespace, signal: cleanUp.signal, labelSelector: "coxswain.dev/worker" },
    keep: ({ metadata: { name, labels }, spec, status }) => {
      jobOf.set(name, labels?.["coxswain.dev/job"] ?? "");
      const [isBound, isRunning] = [spec.nodeName !== undefined, status?.phase === "Running"];
      if (isBound) note(boundAtMs, name);
      if (isRunning) note(runningAtMs, name);
      return { isBound, isRunning };
    },
    onChange: () => undefined,
  });
  /** Of the Pods that are there, not of those that were taken back. */
  const count = (what: "isBound" | "isRunning") =>
    [...view.objects.values()].filter((pod) => pod[what]).length;
  return { view, boundAtMs, runningAtMs, jobOf, count };
}

async function submitAll(api: ApiClient): Promise<ReadonlyMap<string, number>> {
  const bundle = await bundleProgram(join(root, "examples/mnist/mlp.ts"));
  await api.upload(bundle.sha256, bundle.bytes);
  const job: Json = await readJobFile(join(root, "examples/mnist/mlp.yaml"));
  const { workers } = size;
  Object.assign(job["spec"], {
    ...{ program: `sha256:${bundle.sha256}`, workers: { min: workers, max: workers } },
    ...{ resources: { cpu: 1, memory: 1024, gpu: 1 }, engine: "auto" },
  });
  const submittedAtMs = new Map<string, number>();
  const count = Math.floor(size.pods / workers);
  await each(
    Array.from({ length: count }, (_, index) => index),
    async () => {
      const atMs = performance.now();
      const { id } = await api.submit(job);
      submittedAtMs.set(id, atMs);
    },
  );
  return submittedAtMs;
}

/** From submission to the last of its Pods, for each job, in ms. */
function waits(
  submittedAtMs: ReadonlyMap<string, number>,
  { jobOf }: ReturnType<typeof watchPods>,
  seenAtMs: ReadonlyMap<string, number>,
): number[] {
  const last = new Map<string, number>();
  for (const [pod, atMs] of seenAtMs) {
    const job = jobOf.get(pod)!;
    last.set(job, Math.max(last.get(job) ?? 0, atMs));
  }
  return [...last].map(([job, atMs]) => atMs - submittedAtMs.get(job)!);
}

const inSeconds = (ms: number) => rounded(ms / 1000);

async function measure() {
  say(`${size.nodes} nodes are made`);
  await prepareCluster();
  const { path } = await ensureNatsServer({ environment: process.env });
  const dataDir = await temporaryFolder(cleanUp);
  const nats = await startNatsServer({ binary: path, dataDir: join(dataDir, "nats") });
  cleanUp.add(() => nats.stop());
  const store = pathToFileURL(join(dataDir, "store")).href;
  const common = { NATS_URL: nats.url, STORE_URL: store };
  const api = await start("services/job-api/src/main.ts", {
    ...{ ...common, HTTP_PORT: "0", TRAINING_JOBS: "kubernetes" },
  });
  const scheduler = await start("benchmarks/kubernetes/scheduler.ts", common);
  const watched = watchPods();
  await watched.view.synced;
  const idleBefore = await usageOf(scheduler.child);
  say(`${size.pods} workers are asked for`);
  const startedMs = performance.now();
  const submittedAtMs = await submitAll(new ApiClient(`http://127.0.0.1:${api.port}`));
  const submitMs = performance.now() - startedMs;
  const podCount = submittedAtMs.size * size.workers;
  await until("all Pods are bound", () => watched.count("isBound") === podCount);
  const boundMs = performance.now() - startedMs;
  await until("all Pods run", () => watched.count("isRunning") === podCount);
  const full = await usageOf(scheduler.child);
  say(`${size.idleSeconds} s in which nothing happens`);
  const still = await usageOf(scheduler.child);
  await delay(size.idleSeconds * 1000);
  const idle = used(still, await usageOf(scheduler.child));
  const boundWaits = waits(submittedAtMs, watched, watched.boundAtMs);
  return {
    benchmark: "kubernetes",
    ...{ nodes: size.nodes, pods: podCount, jobs: submittedAtMs.size },
    podsTakenBack: watched.jobOf.size - podCount,
    nodesSilent: silentNodes.size,
    firstListsMs: rounded(scheduler.ms),
    submitSeconds: inSeconds(submitMs),
    allBoundSeconds: inSeconds(boundMs),
    boundSecondsP50: inSeconds(percentile(boundWaits, 0.5)),
    boundSecondsP99: inSeconds(percentile(boundWaits, 0.99)),
    filling: used(idleBefore, full),
    idle: { ...idle, cpuShare: rounded(idle.cpuSeconds / size.idleSeconds) },
    memoryMibEmpty: rounded(idleBefore.memoryMib),
    memoryMibFull: rounded(full.memoryMib),
    memoryMibMax: rounded(full.memoryMibMax),
    apiserverMib: rounded(
      (await residentMib(Number(process.env["COXSWAIN_BENCH_APISERVER"]))) ?? Number.NaN,
    ),
  };
}

await runBenchmark(async (own) => {
  cleanUp = own;
  const result = await measure();
  printTable(
    ["what", "value"],
    [
      ["nodes, jobs, Pods", `${result.nodes}, ${result.jobs}, ${result.pods}`],
      ["scheduler: start to everything listed, ms", result.firstListsMs ?? "-"],
      ["submissions, s", result.submitSeconds ?? "-"],
      ["first submission to all Pods bound, s", result.allBoundSeconds ?? "-"],
      [
        "a job: submission to its last Pod bound, s (p50, p99)",
        `${result.boundSecondsP50}, ${result.boundSecondsP99}`,
      ],
      ["Pods that were taken back, and made again elsewhere", result.podsTakenBack],
      ["nodes that were counted as silent meanwhile", result.nodesSilent],
      ["scheduler: CPU meanwhile, s", rounded(result.filling.cpuSeconds) ?? "-"],
      ["scheduler: requests meanwhile", written(result.filling.requests)],
      [
        "scheduler: memory before, then, at most, MiB",
        `${result.memoryMibEmpty}, ${result.memoryMibFull}, ${result.memoryMibMax}`,
      ],
      [`scheduler: CPU in ${size.idleSeconds} idle s, of one core`, result.idle.cpuShare ?? "-"],
      [`scheduler: requests in ${size.idleSeconds} idle s`, written(result.idle.requests)],
      ["kube-apiserver: memory, MiB", result.apiserverMib ?? "-"],
    ],
  );
  printLastLine(result);
});
