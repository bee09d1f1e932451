/** The platform's own times: set-up, first step, submission, event latency, replay. */
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type Bus, connectBus } from "@coxswain/bus";
import { ApiClient, bundleProgram, followEvents, type Json, readJobFile } from "@coxswain/cli";
import type { JobId } from "@coxswain/domain";
import type { PayloadOf } from "@coxswain/events";
import { runJob } from "../scripts/lib/run-job.ts";
import { type SetUp, setUp } from "../scripts/lib/set-up.ts";
import {
  type CleanUp,
  runBenchmark,
  startTemporaryPlatform,
  temporaryFolder,
} from "./lib/clean-up.ts";
import { CommitLog } from "./lib/commit-log.ts";
import { startJobApi } from "./lib/job-api.ts";
import { median, percentile, rounded } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { printLastLine, printTable } from "./lib/report.ts";
import { openReader, replay } from "./lib/sse-clients.ts";

const options = readOptions("platform", "Times of the control plane on this machine.", {
  jobs: { value: "10", text: "short jobs, one after the other, for submit-to-running" },
  seconds: { value: "10", text: "how long submissions go on" },
  concurrency: { value: "16", text: "submissions on their way at once" },
  appends: { value: "500", text: "events whose way to the readers is timed" },
  clients: { value: "200", text: "readers of the event stream at once" },
});
const root = resolve(import.meta.dirname, "..");
const jobFile = join(root, "examples/mnist/mlp.yaml");
const few = (name: string, quick: number) => (options.quick ? quick : options.count(name));
const jobs = few("jobs", 2);
const submitSeconds = few("seconds", 2);
const appends = few("appends", 50);
const clients = few("clients", 20);
const concurrency = options.count("concurrency");
const appendPauseMs = 10;
const arrivalTimeoutMs = 30_000;

const shortJob = (name: string, steps: number) => [
  `metadata.name=${name}`,
  "spec.epochs=null",
  `spec.steps=${steps}`,
  "spec.workers={min: 1, max: 1}",
];

/** From the end of the set-up to the first committed step, then from submissions to training. */
async function measureJobs(cleanUp: CleanUp, { natsBinary, cacheDir }: SetUp) {
  const startedAtMs = Date.now();
  const dataDir = await temporaryFolder(cleanUp);
  const path = join(dataDir, "commits.jsonl");
  const environment = { ...process.env, COXSWAIN_COMMIT_LOG: path };
  const platform = await startTemporaryPlatform(cleanUp, {
    dataDir,
    natsBinary,
    cacheDir,
    environment,
  });
  const startMs = Date.now() - startedAtMs;
  const api = new ApiClient(platform.apiUrl);
  const { signal } = cleanUp;
  const settings = ["metadata.name=first", "spec.epochs=null", "spec.steps=200"];
  await runJob(api, { file: jobFile, settings, signal });
  const firstCommit = await new CommitLog(path).waitFor(() => true);
  const toRunningMs: number[] = [];
  for (let job = 0; job < jobs; job += 1) {
    const submittedMs = performance.now();
    const options = {
      file: jobFile,
      settings: shortJob(`short-${job}`, 20),
      signal,
      onEvent: ({ name }: { readonly name: string }) => {
        if (name === "training.generation-formed")
          toRunningMs.push(performance.now() - submittedMs);
      },
    };
    await runJob(api, options);
  }
  await platform.stop();
  return { startMs, upToFirstStepMs: firstCommit.atMs - startedAtMs, toRunningMs };
}

/** As many submissions as go through, each stored and synced before its answer. */
async function measureSubmissions(api: ApiClient): Promise<{ rate: number; payload: Json }> {
  const bundle = await bundleProgram(join(root, "examples/mnist/mlp.ts"));
  await api.upload(bundle.sha256, bundle.bytes);
  const job = await readJobFile(jobFile);
  job["spec"].program = `sha256:${bundle.sha256}`;
  const startedMs = performance.now();
  const isOver = () => performance.now() - startedMs >= submitSeconds * 1000;
  let submitted = 0;
  const submitter = async () => {
    while (!isOver()) {
      await api.submit(job);
      submitted += 1;
    }
  };
  await Promise.all(Array.from({ length: concurrency }, submitter));
  const rate = submitted / ((performance.now() - startedMs) / 1000);
  const signal = AbortSignal.timeout(arrivalTimeoutMs);
  for await (const event of followEvents(api, { follow: false, signal }))
    return { rate, payload: event.payload };
  throw new Error("the log is empty");
}

/** Milliseconds from the call of `append` to the arrival, for each event at each reader. */
async function measureLatency(
  { bus, apiUrl }: { readonly bus: Bus; readonly apiUrl: string },
  payload: PayloadOf<"job.submitted">,
  readers: number,
): Promise<number[]> {
  const label = `latency-${readers}`;
  const stop = new AbortController();
  const arrivedMs = new Map<number, number[]>();
  const onEvent = (sequence: number) => {
    const times = arrivedMs.get(sequence) ?? [];
    times.push(performance.now());
    arrivedMs.set(sequence, times);
  };
  const append = (index: number) => {
    const jobId = `${label}-${index}` as JobId;
    const common = { name: "job.submitted", jobId, source: "job-api", payload } as const;
    return bus.append({ ...common, id: `${jobId}.submitted` });
  };
  const { sequence: before } = await append(-1);
  const opened = Array.from({ length: readers }, () =>
    openReader(apiUrl, before, stop.signal, onEvent),
  );
  await Promise.all(opened);
  const saidMs = new Map<number, number>();
  for (let index = 0; index < appends; index += 1) {
    const atMs = performance.now();
    saidMs.set((await append(index)).sequence, atMs);
    await delay(appendPauseMs);
  }
  const deadlineMs = performance.now() + arrivalTimeoutMs;
  const isHere = (sequence: number) => arrivedMs.get(sequence)?.length === readers;
  while (![...saidMs.keys()].every(isHere)) {
    if (performance.now() > deadlineMs) throw new Error("events did not arrive at every reader");
    await delay(appendPauseMs);
  }
  stop.abort();
  return [...saidMs].flatMap(([sequence, atMs]) =>
    arrivedMs.get(sequence)!.map((arrived) => arrived - atMs),
  );
}

async function measureApi(cleanUp: CleanUp, natsBinary: string) {
  const { apiUrl, natsUrl } = await startJobApi(cleanUp, natsBinary);
  const bus = await connectBus({ url: natsUrl, name: "bench" });
  cleanUp.add(() => bus.close());
  const { rate, payload } = await measureSubmissions(new ApiClient(apiUrl));
  const one = await measureLatency({ bus, apiUrl }, payload, 1);
  const many = await measureLatency({ bus, apiUrl }, payload, clients);
  const startedMs = performance.now();
  const events = await replay(apiUrl);
  const replayRate = events / ((performance.now() - startedMs) / 1000);
  return { rate, one, many, events, replayRate };
}

await runBenchmark(async (cleanUp) => {
  const onLine = (line: string) => console.log(line);
  const ready = await setUp({ environment: process.env, native: true, onLine });
  const trained = await measureJobs(cleanUp, ready);
  const served = await measureApi(cleanUp, ready.natsBinary);
  const result = {
    benchmark: "platform",
    setUpMs: rounded(ready.ms),
    platformStartMs: rounded(trained.startMs),
    upToFirstStepMs: rounded(trained.upToFirstStepMs),
    submitToRunningMsP50: rounded(median(trained.toRunningMs)),
    eventLatencyMsP50: rounded(median(served.one)),
    eventLatencyMsP99: rounded(percentile(served.one, 0.99)),
    submissionsPerSecond: rounded(served.rate),
    sseClients: clients,
    sseLatencyMsP99: rounded(percentile(served.many, 0.99)),
    events: served.events,
    replayEventsPerSecond: rounded(served.replayRate),
  };
  printTable(
    ["what", "value"],
    [
      ["set-up, everything cached, ms", result.setUpMs ?? "-"],
      ["start of the platform, ms", result.platformStartMs ?? "-"],
      ["end of the set-up to the first step, ms", result.upToFirstStepMs ?? "-"],
      [`submission to training, ms (median of ${jobs})`, result.submitToRunningMsP50 ?? "-"],
      [
        `append to one reader, ms (p50, p99 of ${appends})`,
        `${result.eventLatencyMsP50}, ${result.eventLatencyMsP99}`,
      ],
      [`append to ${clients} readers, ms (p99)`, result.sseLatencyMsP99 ?? "-"],
      [`submissions/s, ${concurrency} at once, each synced`, result.submissionsPerSecond ?? "-"],
      [`replay of ${result.events} events, events/s`, result.replayEventsPerSecond ?? "-"],
    ],
  );
  printLastLine(result);
});
