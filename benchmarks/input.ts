/**
 * A dataset that is larger than the memory that a worker may use: packed and verified by `cox`, then
 * read by a real worker's loader.
 */
import { execFile } from "node:child_process";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { runJob } from "../scripts/lib/run-job.ts";
import { runBenchmark } from "./lib/clean-up.ts";
import { type LoggedPlatform, openLoggedPlatform } from "./lib/logged-platform.ts";
import { lookAtWorkers } from "./lib/look-at-workers.ts";
import { mean, rounded } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions(
  "input",
  "Reading a dataset larger than a worker's memory: MB/s, share of time without data, memory.",
  {
    megabytes: { value: "2000", text: "size of the dataset" },
    "memory-mib": { value: "1024", text: "what a worker may use: more is told as a failure" },
    models: {
      value: "light,conv",
      text: "light: hardly computes, so that reading is the limit; conv",
    },
    passes: { value: "1", text: "times that the light model reads all of it" },
    "conv-steps": { value: "60", text: "steps of the conv model" },
    engine: { value: "auto", text: "auto, native or wasm" },
  },
);
const root = resolve(import.meta.dirname, "..");
const program = join(root, "benchmarks/programs/images.ts");
const batchSize = 64;
const recordMegabytes = (64 * 64 * 3 * 4) / 1e6;
const megabytes = options.quick ? 50 : options.count("megabytes");
const samples = Math.max(batchSize, Math.round(megabytes / recordMegabytes));
const lookMs = 200;
const coxTimeoutMs = 1_800_000;

/** Runs `cox` as a user does. Returns its seconds. */
async function cox(args: readonly string[], signal: AbortSignal): Promise<number> {
  const startedMs = performance.now();
  const command = [join(root, "libs/cli/src/main.ts"), ...args];
  await promisify(execFile)(process.execPath, command, { signal, timeout: coxTimeoutMs });
  return (performance.now() - startedMs) / 1000;
}

const stepsOf = (model: string) =>
  model === "light"
    ? Math.ceil((options.count("passes") * samples) / batchSize)
    : Math.max(10, Math.round(options.count("conv-steps") / (options.quick ? 4 : 1)));

async function train(bench: LoggedPlatform, model: string, data: string, signal: AbortSignal) {
  const before = (await bench.log.read()).length;
  const settings = [
    `metadata.name=bench-input-${model}`,
    `spec.program=${program}`,
    `spec.data=${data}`,
    `spec.parameters={model: ${model}}`,
    "spec.epochs=null",
    `spec.steps=${stepsOf(model)}`,
    `spec.batchSize=${batchSize}`,
    "spec.workers={min: 1, max: 1}",
    "spec.shards=8",
    `spec.engine=${options.text("engine")}`,
    `spec.resources={cpu: 0.5, memory: ${options.count("memory-mib")}}`,
    "spec.checkpoint.everySteps=1000000",
  ];
  let [workerMib, jobId] = [0, ""];
  const look = async () => {
    if (jobId !== "")
      workerMib = Math.max(workerMib, (await lookAtWorkers(bench.dataDir, jobId)).mib);
  };
  const timer = setInterval(() => void look(), lookMs);
  const file = join(root, "examples/mnist/mlp.yaml");
  const onEvent = (event: { readonly jobId: string }) => {
    jobId = event.jobId;
  };
  const { events } = await runJob(bench.api, { file, settings, signal, onEvent }).finally(() =>
    clearInterval(timer),
  );
  const commits = (await bench.log.read()).slice(before);
  const seconds = (commits.at(-1)!.atMs - commits[0]!.atMs) / 1000;
  const read = (commits.length - 1) * batchSize;
  const stalls = events.flatMap(({ name, payload }) =>
    name === "training.progressed" && payload.stepFrom > 0 ? [Number(payload.inputStallShare)] : [],
  );
  return {
    model,
    engine: events.find(({ name }) => name === "job.placed")?.payload.engine.name ?? "unknown",
    steps: commits.length,
    samplesPerSecond: rounded(read / seconds),
    megabytesPerSecond: rounded((read * recordMegabytes) / seconds),
    stallPercent: stalls.length === 0 ? null : rounded(mean(stalls) * 100),
    workerMibMax: rounded(workerMib),
  };
}

await runBenchmark(async (cleanUp) => {
  const { signal } = cleanUp;
  const bench = await openLoggedPlatform(cleanUp, { native: options.text("engine") !== "wasm" });
  const folder = join(bench.dataDir, "dataset");
  const packSeconds = await cox(
    ["dataset-pack", program, folder, "--source", `made-up:${samples}`],
    signal,
  );
  const verifySeconds = await cox(["dataset-verify", folder], signal);
  const size = samples * recordMegabytes;
  console.log(
    `${size.toFixed(0)} MB packed at ${(size / packSeconds).toFixed(0)} MB/s, verified at ${(size / verifySeconds).toFixed(0)} MB/s`,
  );
  const rows = [];
  for (const model of options.text("models").split(","))
    rows.push(await train(bench, model, folder, signal));
  printTable(
    ["model", "engine", "steps", "samples/s", "MB/s", "waiting for data, %", "worker MiB, max"],
    rows.map((row) => Object.values(row).map((value) => value ?? "-")),
  );
  const memoryMib = options.count("memory-mib");
  printLastLine({
    benchmark: "input",
    datasetMegabytes: rounded(size),
    memoryMib,
    isWithinMemory: rows.every(({ workerMibMax }) => (workerMibMax ?? 0) <= memoryMib),
    packMegabytesPerSecond: rounded(size / packSeconds),
    verifyMegabytesPerSecond: rounded(size / verifySeconds),
    rows,
  });
});
