/**
 * What a checkpoint costs training: steps beside which one is copied, hashed and written, against
 * steps that nothing disturbs, of the same run.
 */
import { join, resolve } from "node:path";
import type { FollowedEvent } from "@coxswain/cli";
import { runJob } from "../scripts/lib/run-job.ts";
import { runBenchmark } from "./lib/clean-up.ts";
import type { Commit } from "./lib/commit-log.ts";
import { type LoggedPlatform, openLoggedPlatform } from "./lib/logged-platform.ts";
import { mean, median, percentile, rounded } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions(
  "checkpoint",
  "Steps beside which a checkpoint is written, against steps that nothing disturbs.",
  {
    models: { value: "mlp,wide", text: "mlp: 784-512-256-10; wide: see --megabytes" },
    megabytes: { value: "100", text: "parameters of the wide model" },
    workers: { value: "1", text: "numbers of workers" },
    checkpoints: { value: "8", text: "checkpoints in a run" },
    "mlp-steps": { value: "100", text: "steps from one checkpoint of the MLP to the next" },
    "wide-steps": { value: "8", text: "the same of the wide model" },
    engine: { value: "auto", text: "auto, native or wasm" },
  },
);
const root = resolve(import.meta.dirname, "..");
type Model = "mlp" | "wide";
const checkpoints = options.quick ? 2 : options.count("checkpoints");
const warmUpSteps = 3;

/** 784u + u^2 + 10u parameters, two vectors of which are biases. */
function unitsOf(megabytes: number): number {
  const floats = (megabytes * 1e6) / 4;
  return Math.max(1, Math.round((-796 + Math.sqrt(796 ** 2 + 4 * floats)) / 2));
}

const settingsOf: Readonly<Record<Model, () => readonly string[]>> = {
  mlp: () => [`spec.program=${join(root, "benchmarks/programs/mlp.ts")}`, "spec.batchSize=64"],
  // Two shards: what lies in memory grows with them.
  wide: () => [
    `spec.program=${join(root, "benchmarks/programs/wide.ts")}`,
    `spec.parameters={units: ${unitsOf(options.count("megabytes"))}}`,
    "spec.batchSize=16",
    "spec.shards=2",
  ],
};

interface Place {
  readonly model: Model;
  readonly workers: number;
}

interface Span {
  readonly fromMs: number;
  readonly toMs: number;
}

/** From the first member's commit of the step before to its commit of this one. */
function stepSpans(commits: readonly Commit[]): readonly Span[] {
  const [first] = commits;
  const own = commits.filter(({ worker }) => worker === first?.worker);
  return own
    .slice(warmUpSteps)
    .map(({ atMs }, index) => ({ fromMs: own[index + warmUpSteps - 1]!.atMs, toMs: atMs }));
}

const written = (events: readonly FollowedEvent[]) =>
  events.flatMap(({ name, payload }) => (name === "checkpoint.written" ? [payload] : []));

/** While parts of a checkpoint were copied, hashed and written. */
function writingSpans(
  events: readonly FollowedEvent[],
  commits: readonly Commit[],
): readonly Span[] {
  const askedMs = new Map(commits.map(({ step, atMs }) => [step + 1, atMs]));
  return written(events).flatMap(({ step, writeMs }) => {
    const fromMs = askedMs.get(step);
    return fromMs === undefined ? [] : [{ fromMs, toMs: fromMs + writeMs }];
  });
}

const lengthOf = ({ fromMs, toMs }: Span) => toMs - fromMs;
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);

async function measure(bench: LoggedPlatform, { model, workers }: Place, signal: AbortSignal) {
  const before = (await bench.log.read()).length;
  const everySteps = options.count(`${model}-steps`);
  const settings = [
    `metadata.name=bench-checkpoint-${model}`,
    "spec.epochs=null",
    `spec.steps=${(checkpoints + 1) * everySteps}`,
    `spec.workers={min: ${workers}, max: ${workers}}`,
    `spec.engine=${options.text("engine")}`,
    "spec.resources={cpu: 0.5, memory: 3072}",
    `spec.checkpoint={everySteps: ${everySteps}, keep: 1}`,
    ...settingsOf[model](),
  ];
  const file = join(root, "examples/mnist/mlp.yaml");
  const { events } = await runJob(bench.api, { file, settings, signal });
  const commits = (await bench.log.read()).slice(before);
  const writing = writingSpans(events, commits);
  const isBeside = (step: Span) =>
    writing.some(({ fromMs, toMs }) => fromMs < step.toMs && step.fromMs < toMs);
  const steps = stepSpans(commits);
  const quiet = steps.filter((step) => !isBeside(step)).map(lengthOf);
  const beside = steps.filter(isBeside).map(lengthOf);
  const usualMs = median(quiet);
  // The last checkpoint is written when no step is left.
  const parts = written(events).filter(({ step }) => step < (checkpoints + 1) * everySteps);
  const pauses = parts.map(({ pauseMs }) => Number(pauseMs));
  const bytes = sum(parts.map((part) => part.bytes)) / (parts.length / workers);
  return {
    model,
    workers,
    engine: events.find(({ name }) => name === "job.placed")?.payload.engine.name ?? "unknown",
    checkpointMegabytes: rounded(bytes / 1e6),
    checkpoints: parts.length / workers,
    everySteps,
    quietSteps: quiet.length,
    stepMsMedian: rounded(usualMs),
    stepMsP99: rounded(percentile(quiet, 0.99)),
    besideSteps: beside.length,
    besideStepMsMedian: rounded(median(beside)),
    besideStepMsP99: rounded(percentile(beside, 0.99)),
    writeMsMedian: rounded(median(parts.map(({ writeMs }) => writeMs))),
    pauseMsMedian: rounded(median(pauses)),
    pauseMsMax: rounded(Math.max(...pauses)),
    /** Of the step after the checkpoint: computing waits for the copy. */
    pausePercentOfStep: rounded((median(pauses) / usualMs) * 100),
    /** Of all measured time: what steps beside a checkpoint took beyond the others, by the means. */
    lostPercent: rounded(
      (((mean(beside) - mean(quiet)) * beside.length) / sum(steps.map(lengthOf))) * 100,
    ),
  };
}

await runBenchmark(async (cleanUp) => {
  const native = options.text("engine") !== "wasm";
  const bench = await openLoggedPlatform(cleanUp, { native });
  const rows = [];
  for (const model of options.text("models").split(",") as Model[])
    for (const workers of options.list("workers"))
      rows.push(await measure(bench, { model, workers }, cleanUp.signal));
  const head = [
    "model",
    "workers",
    "engine",
    "MB",
    "step ms: median",
    "p99",
    "beside a checkpoint",
  ];
  printTable(
    [...head, "p99", "written in ms", "pause ms", "pause / step, %", "time lost, %"],
    rows.map((row) => [
      row.model,
      row.workers,
      row.engine,
      row.checkpointMegabytes ?? "-",
      `${row.stepMsMedian} (${row.quietSteps})`,
      row.stepMsP99 ?? "-",
      `${row.besideStepMsMedian} (${row.besideSteps})`,
      row.besideStepMsP99 ?? "-",
      row.writeMsMedian ?? "-",
      `${row.pauseMsMedian} (max ${row.pauseMsMax})`,
      row.pausePercentOfStep ?? "-",
      row.lostPercent ?? "-",
    ]),
  );
  printLastLine({ benchmark: "checkpoint", rows });
});
