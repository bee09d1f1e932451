/**
 * How long the loss of a worker holds up the others: from the signal to the first step that a
 * generation without it commits. Then the log and the weights are checked.
 */
import { join, resolve } from "node:path";
import { auditThroughApi } from "@coxswain/cli";
import { runJob } from "../scripts/lib/run-job.ts";
import { type CleanUp, runBenchmark } from "./lib/clean-up.ts";
import { median, percentile, rounded, seeded, spread } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { pausesOf, repeatedSteps, usualStepMs } from "./lib/pauses.ts";
import { findPeer, type Peer, peerOptions } from "./lib/peer.ts";
import { printLastLine, printTable } from "./lib/report.ts";
import {
  type Course,
  eventually,
  heartbeatTimeoutMs,
  leaveAndJoin,
  loseOne,
  measureOutage,
  openCourse,
  type Recovery,
  workers,
} from "./recovery/course.ts";
import { measureTorchft, measureTorchrun, type PeerRecovery } from "./recovery/peers.ts";

const options = readOptions(
  "recovery",
  "Workers of a running job of three are killed, stopped, added and taken away, on a real platform.",
  {
    kills: { value: "30", text: "so many SIGKILLs" },
    "standby-kills": { value: "15", text: "so many more, of a job with a worker that stands by" },
    stops: { value: "5", text: "so many SIGSTOPs: a machine that falls silent" },
    moves: { value: "10", text: "so many leaves, and joins" },
    outage: { value: "5", text: "seconds for which the bus is stopped; 0 leaves it out" },
    "peer-runs": { value: "3", text: "runs of torchrun and torchft (two minutes each)" },
    "no-hash": { text: "do not train again without disturbance" },
    ...peerOptions,
  },
);
const count = (name: string, quick: number) => (options.quick ? quick : options.count(name));
const kills = count("kills", 3);
const standbyKills = count("standby-kills", 2);
const stops = count("stops", 1);
const moves = count("moves", 1);
const outageSeconds = count("outage", 0);
const peerRuns = count("peer-runs", 1);
const jobFile = join(resolve(import.meta.dirname, ".."), "examples/mnist/mlp.yaml");
const seed = 1;

async function loseMany(
  course: Course,
  { times, signal }: { readonly times: number; readonly signal: "SIGKILL" | "SIGSTOP" },
): Promise<Recovery[]> {
  const random = seeded(seed);
  const found: Recovery[] = [];
  for (let time = 1; time <= times; time += 1) {
    found.push(await loseOne(course, random, signal));
    const { ms, agreedMs } = found.at(-1)!;
    const agreed = `agreed in ${Math.round(agreedMs)} ms`;
    console.log(`${signal} ${time} of ${times}: ${Math.round(ms)} ms, ${agreed}`);
  }
  return found;
}

/** Whether an undisturbed run with one worker has the same bits at a checkpoint after the last loss. */
async function hashEqual(course: Course, signal: AbortSignal): Promise<boolean | null> {
  const { api, jobId, events } = course;
  const from = events.length;
  const committed = await eventually("a checkpoint after the last loss", () =>
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

/** What the log and the commits of a whole course say. */
async function factsOf(course: Course, losses: number, isEqual: boolean | null) {
  const commits = await course.log.read();
  const report = await auditThroughApi(course.api, course.jobId);
  const lost = course.events.filter(({ name }) => name === "worker.lost").length;
  return {
    stepMs: rounded(usualStepMs(commits)),
    stepsLost: repeatedSteps(commits) + report.stepsSkipped + report.stepsTwice,
    survivorsRestarted: lost - losses,
    hashEqual: isEqual,
    auditOk: report.ok,
    pauses: pausesOf(commits, course.events),
  };
}

const timesOf = (recoveries: readonly Recovery[]) => recoveries.map(({ ms }) => ms);
const p50 = (recoveries: readonly Recovery[]) => rounded(median(timesOf(recoveries)));
const p99 = (recoveries: readonly Recovery[]) => rounded(percentile(timesOf(recoveries), 0.99));

async function measureAlone(cleanUp: CleanUp) {
  const course = await openCourse(cleanUp, { name: "bench-recovery", standby: 0 });
  const killed = await loseMany(course, { times: kills, signal: "SIGKILL" });
  const stopped = await loseMany(course, { times: stops, signal: "SIGSTOP" });
  for (let move = 0; move < moves; move += 1) await leaveAndJoin(course);
  const busOutageRateRatio = await measureOutage(course, outageSeconds);
  const isEqual = await hashEqual(course, cleanUp.signal);
  const facts = await factsOf(course, kills + stops, isEqual);
  await course.platform.stop();
  return { killed, stopped, busOutageRateRatio, facts, cacheDir: course.cacheDir };
}

async function measureWithStandby(cleanUp: CleanUp) {
  if (standbyKills === 0) return undefined;
  const course = await openCourse(cleanUp, { name: "bench-standby", standby: 1 });
  const killed = await loseMany(course, { times: standbyKills, signal: "SIGKILL" });
  const facts = await factsOf(course, standbyKills, await hashEqual(course, cleanUp.signal));
  await course.platform.stop();
  const atOnce = killed.filter(({ members }) => members === workers).length;
  return { killed, facts, atOnce };
}

async function measurePeers(
  peer: Peer | undefined,
  cacheDir: string,
  cleanUp: CleanUp,
): Promise<readonly PeerRecovery[]> {
  if (peer === undefined || peerRuns === 0) return [];
  const installs = options.has("install-peers");
  const torchrun = await measureTorchrun(peer, peerRuns, cleanUp);
  const torchft = await measureTorchft(peer, peerRuns, { cleanUp, cacheDir, installs });
  return torchft === null ? [torchrun] : [torchrun, torchft];
}

type Alone = Awaited<ReturnType<typeof measureAlone>>;
type WithStandby = Awaited<ReturnType<typeof measureWithStandby>>;

function print(
  { killed, stopped, ...alone }: Alone,
  standby: WithStandby,
  peers: readonly PeerRecovery[],
) {
  const { facts } = alone;
  const row = (name: string, ours: string | number | null, key?: keyof PeerRecovery) => [
    ...[name, String(ours ?? "-")],
    ...peers.map((peer) => String((key === undefined ? null : peer[key]) ?? "-")),
  ];
  printTable(
    ["milliseconds", "ours", ...peers.map(({ name }) => name)],
    [
      row("worker killed, to the next committed step", spread(timesOf(killed), 0), "p50Ms"),
      row("  p99", p99(killed)),
      row("  with one that stands by", spread(timesOf(standby?.killed ?? []), 0)),
      row("  … in its place at once, of all", `${standby?.atOnce ?? 0} of ${standbyKills}`),
      row("machine silent, to the next committed step", spread(timesOf(stopped), 0), "nodeLossMs"),
      row("pause at a join", spread(facts.pauses.join, 0), "joinPauseMs"),
      row("pause at a leave", spread(facts.pauses.leave, 0)),
      row("a usual step", facts.stepMs),
      row("steps lost", facts.stepsLost + (standby?.facts.stepsLost ?? 0), "stepsLost"),
      row("survivors restarted", facts.survivorsRestarted, "survivorsRestarted"),
      row("same bits as undisturbed", `${facts.hashEqual}, ${standby?.facts.hashEqual ?? "-"}`),
      row(
        "steps/s while the bus is away / before",
        rounded(alone.busOutageRateRatio ?? Number.NaN),
      ),
    ],
  );
}

await runBenchmark(async (cleanUp) => {
  const alone = await measureAlone(cleanUp);
  const standby = await measureWithStandby(cleanUp);
  const peer = await findPeer(options, process.env, alone.cacheDir);
  const peers = await measurePeers(peer, alone.cacheDir, cleanUp);
  const { killed, stopped, facts, busOutageRateRatio } = alone;
  const { pauses, ...rest } = facts;
  print(alone, standby, peers);
  printLastLine({
    benchmark: "recovery",
    kills,
    p50Ms: p50(killed),
    p99Ms: p99(killed),
    ...rest,
    joinPauseMs: rounded(median(pauses.join)),
    leavePauseMs: rounded(median(pauses.leave)),
    busOutageRateRatio: busOutageRateRatio === null ? null : rounded(busOutageRateRatio),
    standby: standby && {
      ...{ kills: standbyKills, p50Ms: p50(standby.killed), p99Ms: p99(standby.killed) },
      ...{ atOnce: standby.atOnce, stepsLost: standby.facts.stepsLost },
      hashEqual: standby.facts.hashEqual,
    },
    silentMachine: { losses: stops, p50Ms: p50(stopped), p99Ms: p99(stopped), heartbeatTimeoutMs },
    peer: peers[0] ?? null,
    peers,
  });
});
