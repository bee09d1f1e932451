/**
 * The same final weights, bit by bit, for any number of workers and for random schedules of kills,
 * joins, leaves, suspensions and restores, on a real platform.
 */
import { join, resolve } from "node:path";
import {
  ApiClient,
  auditThroughApi,
  type FollowedEvent,
  followEvents,
  submitFile,
} from "@coxswain/cli";
import type { Platform } from "@coxswain/embedded";
import { setUp } from "../scripts/lib/set-up.ts";
import {
  type CleanUp,
  runBenchmark,
  startTemporaryPlatform,
  temporaryFolder,
} from "./lib/clean-up.ts";
import { type Fault, faults, type Scene } from "./lib/faults.ts";
import { keepLogs } from "./lib/keep-logs.ts";
import { seeded } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions(
  "prove",
  "The same bits for any number of workers and any schedule of kills, joins, leaves and restores.",
  {
    schedules: { value: "34", text: "random schedules for each model: a hundred in all" },
    models: { value: "mlp,cnn,transformer", text: "of examples/mnist" },
    workers: { value: "2,3,4,8", text: "numbers of workers beside 1" },
    seed: { value: "1", text: "of the schedules" },
    "no-native": { text: "train with wasm" },
  },
);
const steps: Readonly<Record<string, number>> = { mlp: 1000, cnn: 120, transformer: 200 };
const shards = 8;
const workersMax = 4;
const names = [
  "worker killed",
  "two workers killed",
  "all workers killed",
  "all but a newcomer killed",
  "resized",
  "suspended, resumed",
];
const kinds = faults.filter(({ name }) => names.includes(name));
const root = resolve(import.meta.dirname, "..");
const schedules = options.quick ? 2 : options.count("schedules");
const models = options.text("models").split(",");

interface Ran {
  readonly hash: string;
  readonly violations: Awaited<ReturnType<typeof auditThroughApi>>["violations"];
  readonly injected: readonly string[];
  readonly events: readonly FollowedEvent[];
}

/** At which steps what happens. */
type Schedule = readonly { readonly step: number; readonly fault: Fault }[];

function scheduleOf(random: () => number, length: number): Schedule {
  const count = 1 + Math.floor(random() * 4);
  return Array.from({ length: count }, () => ({
    step: Math.floor(random() * length * 0.9),
    fault: kinds[Math.floor(random() * kinds.length)]!,
  })).sort((a, b) => a.step - b.step);
}

async function train(
  { platform, signal }: { readonly platform: Platform; readonly signal: AbortSignal },
  job: {
    readonly model: string;
    readonly workers: string;
    readonly schedule: Schedule;
    readonly random: () => number;
  },
): Promise<Ran> {
  const api = new ApiClient(platform.apiUrl);
  const file = join(root, `examples/mnist/${job.model}.yaml`);
  const settings = [
    ...["spec.epochs=null", `spec.steps=${steps[job.model]}`, `spec.shards=${shards}`],
    ...["spec.batchSize=64", `spec.workers=${job.workers}`, "spec.seed=7"],
    ...["spec.resources={cpu: 0.2, memory: 768}", "spec.checkpoint={everySteps: 40, keep: 3}"],
    ...(options.has("no-native") ? ["spec.engine=wasm"] : []),
  ];
  const { id: jobId } = await submitFile(api, file, { settings });
  const events: FollowedEvent[] = [];
  const scene: Scene = { api, platform, jobId, events, workersMax, random: job.random };
  const left = [...job.schedule];
  const injected: string[] = [];
  let injecting: Promise<unknown> = Promise.resolve();
  for await (const event of followEvents(api, { jobId, follow: true, signal })) {
    events.push(event);
    const next = left[0];
    if (event.name === "training.progressed" && next && event.payload.stepTo >= next.step) {
      left.shift();
      // One at a time; the job may have ended before a suspension comes about.
      injecting = injecting
        .then(() => next.fault.inject(scene))
        .then((done) => done && injected.push(next.fault.name))
        .catch(() => undefined);
    }
    if (["job.failed", "job.cancelled"].includes(event.name))
      throw new Error(`${jobId}: ${event.name} ${JSON.stringify(event.payload)}`);
    if (event.name !== "job.succeeded") continue;
    const { violations } = await auditThroughApi(api, jobId);
    return { hash: event.payload.weightsSha256, violations, injected, events };
  }
  throw new Error("interrupted");
}

async function openPlatform(cleanUp: CleanUp): Promise<Platform> {
  const onLine = (line: string) => console.log(line);
  const ready = await setUp({
    environment: process.env,
    native: !options.has("no-native"),
    onLine,
  });
  return startTemporaryPlatform(cleanUp, {
    dataDir: await temporaryFolder(cleanUp),
    natsBinary: ready.natsBinary,
    cacheDir: ready.cacheDir,
    environment: process.env,
  });
}

/** Runs that differ from the undisturbed one, in words. */
async function proveModel(
  where: { readonly platform: Platform; readonly signal: AbortSignal },
  model: string,
) {
  const random = seeded(options.count("seed") + models.indexOf(model));
  const still = (workers: number) => ({
    ...{ model, schedule: [], random },
    workers: `{min: ${workers}, max: ${workers}}`,
  });
  const { hash } = await train(where, still(1));
  console.log(`${model}, 1 worker: ${hash}`);
  const different: string[] = [];
  const judge = async (what: string, ran: Ran) => {
    const wrong = [
      ...(ran.hash === hash ? [] : [`other bits, ${ran.hash}`]),
      ...ran.violations.map(({ kind, message }) => `${kind}: ${message}`),
    ];
    console.log(`${model}, ${what}: ${wrong.join("; ") || "the same bits"}`);
    if (wrong.length === 0) return;
    different.push(`${model}, ${what}`);
    console.log(`logs are kept in ${await keepLogs(where.platform, ran.events)}`);
  };
  const counts = options.list("workers");
  for (const workers of counts)
    await judge(`${workers} workers`, await train(where, still(workers)));
  let injected = 0;
  for (let index = 1; index <= schedules; index += 1) {
    const schedule = scheduleOf(random, steps[model]!);
    const workers = `{min: 1, max: ${workersMax}}`;
    const ran = await train(where, { model, workers, schedule, random });
    injected += ran.injected.length;
    await judge(`schedule ${index} (${ran.injected.join("; ") || "it ended before"})`, ran);
  }
  return {
    model,
    steps: steps[model],
    hash,
    workers: [1, ...counts],
    schedules,
    faults: injected,
    different,
  };
}

await runBenchmark(async (cleanUp) => {
  const unknown = models.find((model) => steps[model] === undefined);
  if (unknown !== undefined) throw new Error(`--models: there is no "${unknown}"`);
  const platform = await openPlatform(cleanUp);
  const rows: Awaited<ReturnType<typeof proveModel>>[] = [];
  for (const model of models)
    rows.push(await proveModel({ platform, signal: cleanUp.signal }, model));
  printTable(
    ["model", "steps", "workers", "schedules", "faults", "different bits"],
    rows.map(({ model, steps: length, workers, faults: count, different }) => [
      ...[model, length ?? 0, workers.join(", "), schedules, count, different.length],
    ]),
  );
  printLastLine({ benchmark: "prove", seed: options.count("seed"), rows });
  if (rows.some(({ different }) => different.length > 0)) throw new Error("the bits differ");
});
