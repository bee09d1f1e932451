/** A running job that workers are taken from: its client, its events up to now, its commits. */
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { ApiClient, type FollowedEvent, followEvents, type Json, submitFile } from "@coxswain/cli";
import { liveWorkers, type Platform } from "@coxswain/embedded";
import { setUp } from "../../scripts/lib/set-up.ts";
import { type CleanUp, startTemporaryPlatform, temporaryFolder } from "../lib/clean-up.ts";
import { CommitLog } from "../lib/commit-log.ts";

export interface Course {
  readonly api: ApiClient;
  readonly platform: Platform;
  readonly cacheDir: string;
  readonly jobId: string;
  readonly events: FollowedEvent[];
  readonly log: CommitLog;
}

export interface JobOptions {
  readonly name: string;
  readonly standby: number;
}

/** That train; those that stand by are more. */
export const workers = 3;
export const heartbeatTimeoutMs = 1000;
const jobFile = join(resolve(import.meta.dirname, "../.."), "examples/mnist/mlp.yaml");
const stepsMax = 10_000_000;
const checkpointEvery = 200;
const fullTimeoutMs = 60_000;
const settleMsMax = 400;

export async function eventually<T>(
  what: string,
  look: () => Promise<T | undefined> | T | undefined,
): Promise<T> {
  const deadlineMs = performance.now() + fullTimeoutMs;
  for (;;) {
    const found = await look();
    if (found !== undefined) return found;
    if (performance.now() > deadlineMs) throw new Error(`not within 60 s: ${what}`);
    await delay(10);
  }
}

/** A platform of its own for each job, so that nothing of the one before is left. */
export async function openCourse(cleanUp: CleanUp, options: JobOptions): Promise<Course> {
  const onLine = (line: string) => console.log(line);
  const ready = await setUp({ environment: process.env, native: true, onLine });
  const dataDir = await temporaryFolder(cleanUp);
  const path = join(dataDir, "commits.jsonl");
  const environment = {
    ...process.env,
    COXSWAIN_COMMIT_LOG: path,
    HEARTBEAT_TIMEOUT_MS: String(heartbeatTimeoutMs),
  };
  const { natsBinary, cacheDir } = ready;
  const platform = await startTemporaryPlatform(cleanUp, {
    ...{ dataDir, natsBinary, cacheDir, environment },
  });
  const api = new ApiClient(platform.apiUrl);
  const settings = [
    `metadata.name=${options.name}`,
    "spec.epochs=null",
    `spec.steps=${stepsMax}`,
    `spec.workers={min: 1, max: ${workers}, standby: ${options.standby}}`,
    "spec.resources={cpu: 0.4, memory: 768}",
    `spec.checkpoint={everySteps: ${checkpointEvery}, keep: 3}`,
  ];
  const { id: jobId } = await submitFile(api, jobFile, { settings });
  await api.send("PATCH", `/v1/jobs/${jobId}/workers`, { workers });
  const events: FollowedEvent[] = [];
  void (async () => {
    for await (const event of followEvents(api, { jobId, follow: true, signal: cleanUp.signal }))
      events.push(event);
  })();
  return { api, platform, cacheDir, jobId, events, log: new CommitLog(path) };
}

async function jobOf({ api, jobId }: Course): Promise<Json> {
  const job = await api.get(`/v1/jobs/${jobId}`);
  if (job.state === "failed") throw new Error(`the job failed: ${job.error?.message}`);
  return job;
}

/** All workers train, and all that shall stand by do. Returns the ids of those that train. */
async function complete(course: Course): Promise<readonly string[]> {
  return eventually("all workers train or stand by", async () => {
    const job = await jobOf(course);
    const { now, standby, standbyWanted } = job.workers;
    const members: string[] = job.members.map((member: Json) => member.workerId);
    return now === workers && standby === standbyWanted ? members : undefined;
  });
}

export interface Recovery {
  /** From the signal to the first commit of a generation without the victim. */
  readonly ms: number;
  /** Members of that generation. */
  readonly members: number;
  /** From noticing the loss to its being agreed, as the first member says. */
  readonly agreedMs: number;
}

/** SIGKILL of a worker, or SIGSTOP: then it is a machine that falls silent. */
export async function loseOne(
  course: Course,
  random: () => number,
  signal: "SIGKILL" | "SIGSTOP",
): Promise<Recovery> {
  const { events, log, platform, jobId } = course;
  const members = await complete(course);
  await delay(random() * settleMsMax); // So that losses fall into all parts of a step.
  const processes = (await liveWorkers(platform.dataDir)).filter(
    (worker) => worker.jobId === jobId && members.includes(worker.workerId),
  );
  const victim = processes[Math.floor(random() * processes.length)]!;
  const seenEvents = events.length;
  const seenCommits = (await log.read()).length;
  const lostAtMs = Date.now();
  process.kill(victim.pid, signal);
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
  const agreedMs = formed.payload.agreedMs ?? Number.NaN;
  if (signal === "SIGSTOP") process.kill(victim.pid, "SIGKILL");
  return { ms: first.atMs - lostAtMs, members: formed.payload.members.length, agreedMs };
}

/** One worker is asked to leave, then another to join. */
export async function leaveAndJoin(course: Course): Promise<void> {
  const { api, jobId } = course;
  await complete(course);
  for (const wanted of [workers - 1, workers]) {
    await delay(settleMsMax);
    await api.send("PATCH", `/v1/jobs/${jobId}/workers`, { workers: wanted });
    await eventually(`${wanted} workers train`, async () =>
      (await jobOf(course)).members.length === wanted ? true : undefined,
    );
  }
}

/** The rate of steps while the bus is stopped, over the rate before. */
export async function measureOutage(
  { platform, log }: Course,
  seconds: number,
): Promise<number | null> {
  const pid = platform.pidOf("nats-server");
  if (seconds === 0 || pid === undefined) return null;
  const stepsIn = async (ms: number) => {
    const newest = async () => Math.max(...(await log.read()).slice(-50).map(({ step }) => step));
    const first = await newest();
    await delay(ms);
    return (await newest()) - first;
  };
  const before = await stepsIn(seconds * 1000);
  process.kill(pid, "SIGSTOP");
  try {
    return (await stepsIn(seconds * 1000)) / before;
  } finally {
    process.kill(pid, "SIGCONT");
  }
}
