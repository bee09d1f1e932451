/**
 * Faults of every kind, one after the other, on a real platform that trains for real; then the
 * verdict: was anything lost, done twice, or computed otherwise than without them.
 */
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import {
  ApiClient,
  auditThroughApi,
  type FollowedEvent,
  followEvents,
  type Json,
  submitFile,
} from "@coxswain/cli";
import type { WorkerProcess } from "@coxswain/embedded";
import { runJob } from "../scripts/lib/run-job.ts";
import { setUp } from "../scripts/lib/set-up.ts";
import {
  type CleanUp,
  runBenchmark,
  startTemporaryPlatform,
  temporaryFolder,
} from "./lib/clean-up.ts";
import { CommitLog } from "./lib/commit-log.ts";
import { draw, type Fault, outage, type Scene } from "./lib/faults.ts";
import { keepLogs } from "./lib/keep-logs.ts";
import { MemoryWatch } from "./lib/memory-watch.ts";
import { type ClusterVerdict, killLeaders } from "./lib/nats-cluster.ts";
import { median, percentile, rounded, seeded } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { TcpProxy } from "./lib/proxy.ts";
import { printLastLine, printTable } from "./lib/report.ts";
import { mountSmallDisk } from "./lib/small-disk.ts";

const options = readOptions("chaos", "Faults of every kind on a real platform, and the verdict.", {
  minutes: { value: "3", text: "so long" },
  seed: { value: "1", text: "of the faults' order and places" },
  outage: { value: "60", text: "seconds without the bus, once; in a run of 2 minutes or more" },
  leaders: { value: "5", text: "kills of the leader of three nats-servers" },
  "no-native": { text: "train with wasm" },
});
const minutes = options.quick ? 0.5 : options.count("minutes");
const seed = options.count("seed");
const outageMs = minutes >= 2 ? options.count("outage") * 1000 : 0;
const leaderKills = options.quick ? 1 : options.count("leaders");
/** Room for the checkpoints that are kept, and a few more. */
const smallDiskMib = 96;
const root = resolve(import.meta.dirname, "..");
const jobFile = join(root, "examples/mnist/mlp.yaml");
const workersMax = 4;
const stepsMax = 10_000_000;
const calmMs = 5000;
/** After a fault: so many more steps, in time, or the job stands still. */
const stepsAfterFault = 15;
/** Or so many times what they took at the start, if that is more: then the machine is slow. */
const patienceMsMin = 90_000;
const patienceStarts = 5;
/** What takes longer is told. */
const slowMs = 10_000;

interface Course extends Scene {
  patienceMs: number;
  readonly log: CommitLog;
  readonly proxy: TcpProxy;
  readonly natsBinary: string;
}

async function openCourse(cleanUp: CleanUp): Promise<Course> {
  const onLine = (line: string) => console.log(line);
  const native = !options.has("no-native");
  const ready = await setUp({ environment: process.env, native, onLine });
  const dataDir = await temporaryFolder(cleanUp);
  const path = join(dataDir, "commits.jsonl");
  const smallDisk = await mountSmallDisk(cleanUp, join(dataDir, "store"), smallDiskMib);
  if (smallDisk === undefined) console.log("no small disk can be mounted here: none gets full");
  const proxies: TcpProxy[] = [];
  const throughProxy = async (url: string) => {
    const proxy = new TcpProxy(url);
    proxies.push(proxy);
    cleanUp.add(() => proxy.close());
    return await proxy.listen();
  };
  const platform = await startTemporaryPlatform(cleanUp, {
    ...{ dataDir, throughProxy, onEvent: onLine },
    natsBinary: ready.natsBinary,
    cacheDir: ready.cacheDir,
    environment: { ...process.env, COXSWAIN_COMMIT_LOG: path },
  });
  const api = new ApiClient(platform.apiUrl);
  const settings = [
    "metadata.name=chaos",
    "spec.epochs=null",
    `spec.steps=${stepsMax}`,
    `spec.workers={min: 1, max: ${workersMax}}`,
    "spec.resources={cpu: 0.5, memory: 768}",
    "spec.checkpoint={everySteps: 100, keep: 4}",
    ...(native ? [] : ["spec.engine=wasm"]),
  ];
  const { id: jobId } = await submitFile(api, jobFile, { settings });
  const events: FollowedEvent[] = [];
  void (async () => {
    for await (const event of followEvents(api, { jobId, follow: true, signal: cleanUp.signal }))
      events.push(event);
  })();
  const log = new CommitLog(path);
  const [proxy] = proxies;
  return {
    ...{ api, platform, jobId, events, log, workersMax, random: seeded(seed), smallDisk },
    ...{ proxy: proxy!, natsBinary: ready.natsBinary, patienceMs: patienceMsMin },
  };
}

const lastStep = async ({ log }: Course) =>
  (await log.read()).reduce((max, { step }) => Math.max(max, step), -1);

/** Commits that follow the present ones; returns after how many ms. @throws Error when the job has ended or stands still */
async function goesOn(course: Course, after: string): Promise<number> {
  const seen = (await course.log.read()).length;
  const { patienceMs } = course;
  const startedMs = performance.now();
  for (;;) {
    const failed = course.events.find(({ name }) => name === "job.failed");
    if (failed !== undefined)
      throw new Error(`the job failed after "${after}": ${JSON.stringify(failed.payload.error)}`);
    const tookMs = performance.now() - startedMs;
    if ((await course.log.read()).length >= seen + stepsAfterFault) return tookMs;
    if (tookMs > patienceMs)
      throw new Error(
        `the job stands still for ${Math.round(patienceMs / 1000)} s after "${after}"`,
      );
    await delay(20);
  }
}

/** Milliseconds from the kill to the first step that the survivors' generation commits. */
async function recoveryMs(
  { events, log }: Course,
  victim: WorkerProcess,
  killed: { readonly atMs: number; readonly events: number; readonly commits: number },
): Promise<number | undefined> {
  const formed = events
    .slice(killed.events)
    .find(({ name }) => name === "training.generation-formed");
  // It was no member yet, or something else happened too.
  if (formed?.payload.cause !== "loss") return undefined;
  const first = (await log.read())
    .slice(killed.commits)
    .find(({ worker, step }) => worker !== victim.workerId && step >= formed.payload.fromStep);
  return first && first.atMs - killed.atMs;
}

interface Disturbed {
  readonly injected: ReadonlyMap<string, number>;
  readonly recoveries: readonly number[];
  /** Steps per second while nobody reached the bus. */
  readonly outageRate: number | undefined;
}

/** The long outage comes first: what follows shows whether the platform got over it. */
async function disturb(course: Course): Promise<Disturbed> {
  let outageRate: number | undefined;
  const long: Fault = {
    name: `bus away for ${outageMs / 1000} s`,
    weight: 0,
    inject: async (scene) => {
      const first = await lastStep(course);
      const done = await outage(scene, outageMs);
      outageRate = ((await lastStep(course)) - first) / (outageMs / 1000);
      return done;
    },
  };
  const planned = outageMs > 0 ? [long] : [];
  const injected = new Map<string, number>();
  const recoveries: number[] = [];
  const endMs = performance.now() + minutes * 60_000;
  while (performance.now() < endMs) {
    await delay(course.random() * 1500);
    const fault = planned.shift() ?? draw(course.random);
    const { events, log } = course;
    const commits = (await log.read()).length;
    const before = { atMs: Date.now(), events: events.length, commits };
    const done = await fault.inject(course);
    if (done === undefined) continue;
    injected.set(fault.name, (injected.get(fault.name) ?? 0) + 1);
    console.log(`step ${await lastStep(course)}: ${fault.name}`);
    const tookMs = await goesOn(course, fault.name);
    if (tookMs > slowMs) console.log(`it went on after ${Math.round(tookMs / 1000)} s`);
    const ms = done.victim && (await recoveryMs(course, done.victim, before));
    if (ms !== undefined) recoveries.push(ms);
  }
  return { injected, recoveries, outageRate };
}

/** What the log says of losses and failures, when the run fails, and where the rest is. */
async function tellEnd({ events, platform }: Course): Promise<void> {
  const told = ["worker.lost", "job.failed", "training.failed"];
  for (const { name, time, payload } of events
    .filter((event) => told.includes(event.name))
    .slice(-12))
    console.error(time, name, JSON.stringify(payload));
  console.error(`logs are kept in ${await keepLogs(platform, events)}`);
}

/** Steps per second while nothing disturbs. */
async function undisturbedRate(course: Course): Promise<number> {
  const startMs = await goesOn(course, "the start");
  course.patienceMs = Math.max(patienceMsMin, patienceStarts * startMs);
  const [first, startedMs] = [await lastStep(course), performance.now()];
  await delay(calmMs);
  return ((await lastStep(course)) - first) / ((performance.now() - startedMs) / 1000);
}

/** Whether one worker that nothing disturbs has the same bits at a checkpoint after the last fault. */
async function isHashEqual(course: Course, signal: AbortSignal): Promise<boolean> {
  const { api, jobId, events, patienceMs } = course;
  const seen = events.length;
  const find = (name: string) => events.slice(seen).find((event) => event.name === name);
  const deadlineMs = performance.now() + patienceMs;
  while (find("checkpoint.committed") === undefined) {
    if (performance.now() > deadlineMs) throw new Error("no checkpoint after the last fault");
    await delay(50);
  }
  const { step, weightsSha256 } = find("checkpoint.committed")!.payload as Json;
  await api.send("POST", `/v1/jobs/${jobId}/cancel`);
  while (find("job.cancelled") === undefined) await delay(50);
  console.log(`proof: one worker, undisturbed, up to step ${step} …`);
  const engine = options.has("no-native") ? ["spec.engine=wasm"] : [];
  const settings = [
    ...["metadata.name=chaos-oracle", "spec.epochs=null", `spec.steps=${step}`],
    ...["spec.workers={min: 1, max: 1}", "spec.checkpoint.everySteps=1000000", ...engine],
  ];
  const run = await runJob(api, { file: jobFile, settings, signal });
  return run.weightsSha256 === weightsSha256;
}

function clusterResult({ leadersKilled, acknowledged, lost, twice, waitsMs }: ClusterVerdict) {
  return {
    leadersKilled,
    factsAcknowledged: acknowledged,
    factsLost: lost,
    factsTwice: twice,
    factWaitMaxMs: rounded(Math.max(...waitsMs)),
  };
}

function printVerdict(
  injected: ReadonlyMap<string, number>,
  result: Readonly<Record<string, unknown>>,
): void {
  const total = [...injected.values()].reduce((sum, count) => sum + count, 0);
  const of = (...names: string[]) => names.map((name) => String(result[name])).join(", ");
  printTable(
    ["verdict", ""],
    [
      ...injected,
      ["faults in all", total],
      ["steps committed", of("stepsCommitted")],
      ["steps twice, skipped", of("stepsTwice", "stepsSkipped")],
      ["steps done again after all workers died", of("stepsRedone")],
      ["samples twice, skipped", of("samplesTwice", "samplesSkipped")],
      ["same bits as undisturbed", of("hashEqual")],
      ["a worker killed: ms to the next step, p50, p99", of("recoveryP50Ms", "recoveryP99Ms")],
      ["steps/s against before", of("throughputRatio")],
      ["steps/s while the bus was away, against before", of("outageRateRatio")],
      ["leaders of three servers killed", of("leadersKilled")],
      ["facts acknowledged there; lost, twice", of("factsAcknowledged", "factsLost", "factsTwice")],
      ["longest wait for an acknowledgement, ms", of("factWaitMaxMs")],
      ["memory, MiB a minute", JSON.stringify(result["memoryMibPerMinute"])],
    ],
  );
}

async function run(cleanUp: CleanUp, course: Course): Promise<void> {
  const { platform, api, jobId } = course;
  const calmRate = await undisturbedRate(course);
  const watch = new MemoryWatch([...platform.services, "nats-server"], (name) =>
    platform.pidOf(name),
  );
  cleanUp.add(async () => watch.stop());
  const [firstStep, startedMs] = [await lastStep(course), performance.now()];
  const { injected, recoveries, outageRate } = await disturb(course);
  const seconds = (performance.now() - startedMs) / 1000;
  const rate = ((await lastStep(course)) - firstStep) / seconds;
  const hashEqual = await isHashEqual(course, cleanUp.signal);
  const report = await auditThroughApi(api, jobId);
  const cluster = await killLeaders(cleanUp, {
    ...{ binary: course.natsBinary, dataDir: await temporaryFolder(cleanUp), kills: leaderKills },
  });
  const result = {
    benchmark: "chaos",
    seed,
    minutes: rounded(seconds / 60),
    faults: Object.fromEntries(injected),
    stepsCommitted: report.stepsCommitted,
    stepsTwice: report.stepsTwice,
    stepsSkipped: report.stepsSkipped,
    stepsRedone: report.stepsRedone,
    samplesTwice: report.samplesTwice,
    samplesSkipped: report.samplesSkipped,
    auditOk: report.ok,
    hashEqual,
    recoveryP50Ms: rounded(median(recoveries)),
    recoveryP99Ms: rounded(percentile(recoveries, 0.99)),
    throughputRatio: rounded(rate / calmRate),
    outageRateRatio: outageRate === undefined ? null : rounded(outageRate / calmRate),
    ...clusterResult(cluster),
    memoryMibPerMinute: watch.slopes(),
  };
  printVerdict(injected, result);
  printLastLine(result);
  const isClusterGood = cluster.lost === 0 && cluster.twice === 0;
  if (!report.ok || !hashEqual || !isClusterGood) throw new Error("the verdict is bad");
}

await runBenchmark(async (cleanUp) => {
  const course = await openCourse(cleanUp);
  await run(cleanUp, course).catch(async (error: unknown) => {
    await tellEnd(course);
    throw error;
  });
});
