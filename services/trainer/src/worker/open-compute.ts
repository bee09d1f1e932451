/** A worker's compute thread with the job's program in it. */
import type { Bus } from "@coxswain/bus";
import { AppError, needsGpu, settingsOf } from "@coxswain/domain";
import { type Gpu, lookForGpus, visibleOf } from "@coxswain/engine";
import {
  compileInThread,
  type ObtainedProgram,
  obtainProgram,
  requireSameProgram,
  tellCompiled,
} from "./compiled-program.ts";
import { Compute, type ComputeEvents } from "./compute.ts";
import type { Compiled } from "./compute-messages.ts";
import type { WorkerConfig } from "./config.ts";
import { endEarly } from "./early-engine.ts";
import type { JobContext } from "./job-context.ts";
import type { PatiencePorts } from "./patiently.ts";

export interface OpenComputePorts {
  readonly bus: Bus;
  readonly config: WorkerConfig;
  readonly context: JobContext;
  readonly asking: PatiencePorts;
  readonly log: (sentence: string, fields: object) => void;
}

export interface OpenedCompute {
  readonly compute: Compute;
  readonly compiled: Compiled;
}

/**
 * The thread starts while the program is fetched or compiled, so that both take the time of one.
 * @param events `onRecording` gets what resolves when the program is ready
 * @throws AppError the program's own error; `engine-mismatch` when the job runs something else
 */
export async function openCompute(
  ports: OpenComputePorts,
  programPath: string,
  events: Omit<ComputeEvents, "onRecording"> & { onRecording(ready: Promise<unknown>): void },
): Promise<OpenedCompute> {
  const { config, context } = ports;
  const { spec, engine } = context.job();
  const compile = { ...spec, programPath };
  const { COXSWAIN_ENGINE: name, COXSWAIN_CACHE_DIR: cacheDir } = config;
  const settings = settingsOf(engine?.identity ?? "");
  const gpu = engine && needsGpu(engine.identity) ? await ownGpu(config) : undefined;
  const options = { engine: name, settings, gpu, cacheDir, compile, exchange: spec.exchange };
  let obtained: ObtainedProgram | undefined;
  const onRecording = () => events.onRecording(compute.compiled);
  const initialParameters = async () => {
    if (obtained?.recorded === undefined) return undefined;
    return obtained.initial ?? (await compileInThread(options, () => undefined)).initial;
  };
  const compute: Compute = new Compute(options, { ...events, onRecording, initialParameters });
  const programPorts = { ...ports, onRecording };
  obtained = await obtainProgram(programPorts, options);
  compute.provide(obtained.recorded);
  const compiled = await compute.compiled;
  // What compiling has left behind is given back while the first step is computed.
  void Promise.resolve(obtained.ended).then(endEarly);
  const { xlaSeconds = compiled.xlaSeconds } = obtained;
  if (xlaSeconds !== undefined) ports.log("XLA compiled the program", { xlaSeconds });
  if (engine !== undefined && engine.identity !== compiled.identity) {
    const sentence = `the job runs on "${engine.identity}", this worker has "${compiled.identity}"`;
    throw new AppError("engine-mismatch", sentence);
  }
  requireSameProgram(context.job().compiled, compiled);
  void tellCompiled(programPorts, obtained, compiled);
  return { compute, compiled };
}

/** @throws AppError `engine-unavailable` when this worker sees none */
async function ownGpu({ CUDA_VISIBLE_DEVICES: visible }: WorkerConfig): Promise<Gpu> {
  const [gpu] = visibleOf(await lookForGpus(), visible);
  if (gpu !== undefined) return gpu;
  const shown = visible === undefined ? "not set" : `"${visible}"`;
  throw new AppError(
    "engine-unavailable",
    `the job's engine computes on a GPU, and this worker sees none (CUDA_VISIBLE_DEVICES is ${shown})`,
  );
}
