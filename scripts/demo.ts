/**
 * The demo: the whole platform on this machine trains MNIST, loses a worker on the way, gets
 * another, and ends with the bits of a run that nothing disturbed.
 */
import { mkdir, rm } from "node:fs/promises";
import { join, relative, resolve } from "node:path";
import { parseArgs } from "node:util";
import { ApiClient, ApiError, auditThroughApi, type FollowedEvent, pc } from "@coxswain/cli";
import { AppError } from "@coxswain/domain";
import { liveWorkers, type Platform, startPlatform } from "@coxswain/embedded";
import { openDisplay } from "./lib/progress.ts";
import { type JobRun, runJob } from "./lib/run-job.ts";
import { setUp } from "./lib/set-up.ts";

const help = `npm run demo [-- options]

  --prove        run the undisturbed proof over the full length (default: up to a common checkpoint)
  --epochs N     passes over the 60,000 images (default 3)
  --json         the last line is one JSON object; no colours, no live display
  --no-native    do not fetch the native engine; train with wasm
  --data DIR     where the platform keeps its data (default .coxswain/demo)
  --help`;

const { values: options } = parseArgs({
  options: {
    prove: { type: "boolean", default: false },
    epochs: { type: "string", default: "3" },
    json: { type: "boolean", default: false },
    "no-native": { type: "boolean", default: false },
    data: { type: "string" },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(help);
  process.exit(0);
}

const root = resolve(import.meta.dirname, "..");
const jobFile = join(root, "examples/mnist/mlp.yaml");
const checkpointEvery = 250;
const accuracyMin = 0.97;
const interrupted = new AbortController();
let platform: Platform | undefined;

async function stop(code: number): Promise<never> {
  interrupted.abort();
  await platform?.stop();
  process.exit(code);
}
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
  process.on(signal, () => {
    console.error("\nstopping …");
    void stop(130);
  });
}

interface Disturbed extends JobRun {
  readonly upToFirstStepMs: number;
  readonly killed: number;
  readonly joined: number;
  readonly seconds: number;
}

/** Also where the native engine is there. */
const engineSettings = options["no-native"] ? ["spec.engine=wasm"] : [];

/** Trains with 2 to 4 workers; one is killed after a third of the steps, another one is added. */
async function trainDisturbed(
  api: ApiClient,
  dataDir: string,
  setUpEndedMs: number,
): Promise<Disturbed> {
  const display = openDisplay(process.stdout.isTTY === true && !options.json);
  const startedMs = performance.now();
  const state = { upToFirstStepMs: 0, killed: 0, joined: 0, isScaled: false };
  const onEvent = async (event: FollowedEvent) => {
    display.event(event);
    if (event.name === "training.generation-formed" && event.payload.cause === "join")
      state.joined += 1;
    if (event.name !== "training.progressed") return;
    if (state.upToFirstStepMs === 0) state.upToFirstStepMs = performance.now() - setUpEndedMs;
    const { stepTo, steps, workers } = event.payload;
    if (state.killed === 0 && stepTo > steps / 3 && workers >= 2) {
      const victims = (await liveWorkers(dataDir)).filter(({ jobId }) => jobId === event.jobId);
      const victim = victims[0];
      if (victim === undefined) return;
      process.kill(victim.pid, "SIGKILL");
      state.killed += 1;
      display.note(pc.red(`  SIGKILL to worker ${victim.workerId} (pid ${victim.pid})`));
    } else if (state.killed > 0 && !state.isScaled && stepTo > steps / 2) {
      state.isScaled = true;
      await api.send("PATCH", `/v1/jobs/${event.jobId}/workers`, { workers: 3 });
      display.note(pc.green("  one worker more: three are wanted"));
    }
  };
  try {
    const settings = [
      `spec.epochs=${options.epochs}`,
      `spec.checkpoint.everySteps=${checkpointEvery}`,
      "spec.checkpoint.keep=100",
      ...engineSettings,
    ];
    const run = await runJob(api, { file: jobFile, settings, signal: interrupted.signal, onEvent });
    return { ...run, ...state, seconds: (performance.now() - startedMs) / 1000 };
  } finally {
    display.stop();
  }
}

/** The step at which both runs are compared: the end, or an early checkpoint after the kill. */
function comparedStep(run: Disturbed): { readonly step: number; readonly sha256: string } {
  const steps = run.events.findLast(({ name }) => name === "training.finished")!.payload
    .step as number;
  const committed = run.events
    .filter(({ name }) => name === "checkpoint.committed")
    .map(({ payload }) => payload);
  const loss =
    run.events.find(
      ({ name, payload }) => name === "training.generation-formed" && payload.cause === "loss",
    )?.payload.fromStep ?? 0;
  const early = committed.find(({ step }) => step > loss);
  if (options.prove || early === undefined) return { step: steps, sha256: run.weightsSha256 };
  return { step: early.step, sha256: early.weightsSha256 };
}

async function trainUndisturbed(api: ApiClient, steps: number): Promise<string> {
  const display = openDisplay(process.stdout.isTTY === true && !options.json);
  const settings = [
    `spec.steps=${steps}`,
    "spec.epochs=null",
    "spec.workers.min=1",
    "spec.workers.max=1",
    "spec.shards=8",
    "metadata.name=mnist-proof",
    `spec.checkpoint.everySteps=${steps}`,
    ...engineSettings,
  ];
  try {
    const run = await runJob(api, {
      file: jobFile,
      settings,
      signal: interrupted.signal,
      onEvent: (event) => display.event(event),
    });
    return run.weightsSha256;
  } finally {
    display.stop();
  }
}

function summary(rows: readonly (readonly [string, string])[]): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  console.log();
  for (const [name, value] of rows) console.log(`  ${pc.dim(name.padEnd(width))}  ${value}`);
  console.log();
}

interface Outcome {
  readonly run: Disturbed;
  readonly compared: ReturnType<typeof comparedStep>;
  readonly hashUndisturbed: string;
  readonly report: Awaited<ReturnType<typeof auditThroughApi>>;
  readonly engine: string;
  readonly dataDir: string;
}

function figuresOf({ run, compared, hashUndisturbed, report, engine }: Outcome) {
  const steps = run.events.findLast(({ name }) => name === "training.finished")!.payload
    .step as number;
  return {
    accuracy: run.metrics["accuracy"] ?? 0,
    steps,
    stepsLost: report.stepsSkipped + report.stepsTwice,
    hash: run.weightsSha256,
    comparedStep: compared.step,
    hashCompared: compared.sha256,
    hashUndisturbed,
    wallSeconds: Math.round(performance.now() / 100) / 10,
    samplesPerSecond: Math.round((steps * 128) / run.seconds),
    upToFirstStepMs: Math.round(run.upToFirstStepMs),
    workersKilled: run.killed,
    workersJoined: run.joined,
    engine,
  };
}

function printSummary(outcome: Outcome, figures: ReturnType<typeof figuresOf>): void {
  const { run, report, dataDir } = outcome;
  const yes = (isSo: boolean, text: string) => (isSo ? pc.green(text) : pc.red(text));
  const isEqual = figures.hashCompared === figures.hashUndisturbed;
  const audit = report.ok ? "each sample of each epoch once" : JSON.stringify(report.violations);
  const model = join(dataDir, "store/jobs", run.id, "model");
  summary([
    [
      "test accuracy",
      yes(
        figures.accuracy >= accuracyMin,
        `${(figures.accuracy * 100).toFixed(2)} % of the 10,000 test images`,
      ),
    ],
    [
      "training",
      `${figures.steps} steps in ${run.seconds.toFixed(1)} s, ${figures.samplesPerSecond} samples/s from submission to the end`,
    ],
    ["wall time", `${figures.wallSeconds} s, the proof included`],
    ["first step", `${figures.upToFirstStepMs} ms after the set-up`],
    ["disturbed by", `${run.killed} SIGKILL; ${run.joined} times a worker joined`],
    [
      "steps lost",
      yes(
        figures.stepsLost === 0 && report.ok,
        `${figures.stepsLost} (from the event log: ${audit})`,
      ),
    ],
    ["weights", figures.hash],
    [`at step ${figures.comparedStep}`, figures.hashCompared],
    [
      "undisturbed, 1 worker",
      `${figures.hashUndisturbed} ${yes(isEqual, isEqual ? "the same bits" : "DIFFERENT")}`,
    ],
    ["engine", figures.engine],
    ["model", model],
    ["event log", `${join(dataDir, "nats/jetstream")} (stream EVENTS)`],
  ]);
  console.log(`Try next:
  npx cox up --detach
  npx cox submit examples/mnist/mlp.yaml --follow
  npx cox predict ${relative(process.cwd(), model)} --sample 7`);
}

async function main(): Promise<number> {
  const ready = await setUp({
    environment: process.env,
    native: !options["no-native"],
    onLine: (line) => console.log(line),
  });
  const setUpEndedMs = performance.now();
  const dataDir = resolve(options.data ?? join(root, ".coxswain/demo"));
  await rm(dataDir, { recursive: true, force: true });
  await mkdir(dataDir, { recursive: true });
  platform = await startPlatform({
    dataDir,
    natsBinary: ready.natsBinary,
    cacheDir: ready.cacheDir,
    environment: process.env,
    onEvent: (line) => console.log(pc.yellow(line)),
  });
  void platform.failed.then(async (error) => {
    console.error(`${error.message}\nWhat to do: ${error.fix}`);
    await stop(1);
  });
  console.log(
    `platform: ${platform.services.length} services at ${platform.apiUrl}, up after ${Math.round(performance.now() - setUpEndedMs)} ms`,
  );
  const api = new ApiClient(platform.apiUrl);

  const run = await trainDisturbed(api, dataDir, setUpEndedMs);
  const report = await auditThroughApi(api, run.id);
  const compared = comparedStep(run);
  console.log(
    `\nproof: the same job once more, one worker, nothing disturbs it, up to step ${compared.step} …`,
  );
  const hashUndisturbed = await trainUndisturbed(api, compared.step);
  const placed = run.events.find(({ name }) => name === "job.placed")!;
  const outcome: Outcome = {
    run,
    compared,
    hashUndisturbed,
    report,
    engine: placed.payload.engine.name,
    dataDir,
  };
  const figures = figuresOf(outcome);
  printSummary(outcome, figures);
  await platform.stop();
  if (options.json) console.log(JSON.stringify(figures));
  const isProved = figures.hashCompared === hashUndisturbed && figures.stepsLost === 0 && report.ok;
  return isProved && figures.accuracy >= accuracyMin && run.killed > 0 ? 0 : 1;
}

try {
  process.exit(await main());
} catch (error) {
  if (interrupted.signal.aborted) await new Promise(() => undefined); // The signal's handler ends the process.
  if (error instanceof AppError) console.error(`${error.message}\nWhat to do: ${error.fix}`);
  else if (error instanceof ApiError)
    console.error(
      `${error.problem.detail}\nWhat to do: ${error.problem.fix ?? "see the logs"}`,
      error.problem.violations ?? "",
    );
  else console.error(error);
  await stop(1);
}
