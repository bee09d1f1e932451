/** engine: what computes on this machine; list and measure, install, remove. */
import { AppError, engineText, needsGpu } from "@coxswain/domain";
import { cacheFolder } from "@coxswain/embedded";
import {
  availableEngines,
  type EngineSpeed,
  installNative,
  installWebgpu,
  lookForGpus,
  measureEngine,
  type NativeBuild,
  removeNative,
  removeWebgpu,
} from "@coxswain/engine";
import { installSharedMemory } from "@coxswain/shared-memory";
import { type CommonOptions, type Context, show, table } from "../context.ts";
import type { Add } from "./jobs.ts";

/** One shard of eight has as many samples as in the examples. */
const batchSize = 128;
const secondsMax = 600;

interface EngineCommandOptions extends CommonOptions {
  readonly measure?: boolean;
  readonly seconds: string;
}

export function addEngineCommands(add: Add, context: Context): void {
  add("engine [verb] [name]", "list the engines that can train here, install or remove one", [
    "cox engine",
    "cox engine list --measure",
    "cox engine install native",
    "cox engine install native-gpu",
    "cox engine install webgpu",
    "cox engine remove native",
  ])
    .option("--measure", "run each engine for some seconds: samples/s of a small perceptron")
    .option("--seconds <n>", "how long each engine is measured", "10")
    .action(
      async (verb: string | undefined, name: string | undefined, options: EngineCommandOptions) => {
        const cacheDir = cacheFolder(context.environment);
        switch (verb ?? "list") {
          case "list":
            return await list(context, cacheDir, options);
          case "install":
            await install(context, cacheDir, name);
            return await list(context, cacheDir, options);
          case "remove":
            return await remove(context, { cacheDir, name, options });
          default: {
            const sentence = `cox engine ${verb}: use list, install or remove`;
            throw new AppError("invalid-request", sentence);
          }
        }
      },
    );
}

async function list(
  context: Context,
  cacheDir: string,
  options: EngineCommandOptions,
): Promise<void> {
  const gpus = await lookForGpus();
  const engines = await availableEngines({ cacheDir, gpus });
  const speeds = new Map<string, EngineSpeed>();
  if (options.measure) {
    const seconds = secondsOf(options.seconds);
    for (const { name, isa, xla, text } of engines) {
      context.err(`measuring ${engineText({ name, isa, xla })} for ${seconds} s …`);
      const gpu = needsGpu(text) ? gpus[0] : undefined;
      const orders = { engine: name, isa, xla, gpu, cacheDir, seconds, batchSize };
      speeds.set(text, await measureEngine(orders, context.environment));
    }
  }
  const items = engines.map((engine) => ({ ...engine, ...speeds.get(engine.text) }));
  const speedOf = (identity: string) => {
    const speed = speeds.get(identity);
    return speed === undefined
      ? []
      : [`${speed.samplesPerSecond.toLocaleString("en")} (${speed.mode})`];
  };
  show(context, options, { items }, () =>
    table(
      ["ENGINE", ...(options.measure ? ["SAMPLES/S"] : []), "IDENTITY"],
      engines.map(({ name, text }) => [name, ...speedOf(text), text]),
    ),
  );
}

function secondsOf(text: string): number {
  const seconds = Number(text);
  if (seconds > 0 && seconds <= secondsMax) return seconds;
  throw new AppError("invalid-request", `--seconds ${text}: more than 0, at most ${secondsMax}`);
}

function buildOf(name: string | undefined, verb: string): NativeBuild {
  if (name === "native") return "cpu";
  if (name === "native-gpu") return "gpu";
  const why = name === "wasm" ? "wasm is part of Coxswain" : `name the engine`;
  const all = ["native", "native-gpu", "webgpu"]
    .map((one) => `cox engine ${verb} ${one}`)
    .join(" or ");
  throw new AppError("invalid-request", `${why}: ${all}`);
}

async function install(
  context: Context,
  cacheDir: string,
  name: string | undefined,
): Promise<void> {
  const { environment } = context;
  const options = { cacheDir, environment, onProgress: context.err };
  if (name === "webgpu") {
    const { isNew: isBrought } = await installWebgpu(options);
    return context.err(isBrought ? "webgpu is installed" : "webgpu was there already");
  }
  const build = buildOf(name, "install");
  await installSharedMemory(cacheDir);
  const { isNew } = await installNative({ ...options, build });
  context.err(isNew ? `${name} is installed` : `${name} was there already`);
  if (build === "gpu" && (await lookForGpus()).length === 0)
    context.err("no GPU is here: nvidia-smi tells of none, so nothing will run on one");
}

interface Removal {
  readonly cacheDir: string;
  readonly name: string | undefined;
  readonly options: CommonOptions;
}

async function remove(context: Context, { cacheDir, name, options }: Removal): Promise<void> {
  const removed =
    name === "webgpu"
      ? await removeWebgpu(cacheDir)
      : await removeNative(cacheDir, buildOf(name, "remove"));
  show(context, options, { engine: name, removed }, () =>
    removed
      ? `${name} is removed; jobs that ask for it wait until it is installed again`
      : `${name} was not installed`,
  );
}
