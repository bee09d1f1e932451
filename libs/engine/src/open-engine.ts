/** Which engines this machine has, and how to open one. */
import { access } from "node:fs/promises";
import { AppError } from "@coxswain/domain";
import type { Gpu } from "./gpus.ts";
import {
  type NativeBuild,
  type NativeOptions,
  nativeIdentity,
  nativePlace,
} from "./native-place.ts";
import type { CompiledProgram, CompileOptions, Engine, EngineIdentity } from "./port.ts";
import { isaLevelsOf, processorFlags } from "./processor.ts";
import { wasmIdentity } from "./wasm-identity.ts";
import { isWebgpuInstalled, lookForAdapter, webgpuIdentity } from "./webgpu-place.ts";

export interface EngineOptions extends NativeOptions {
  /** Where engines that the set-up brought are kept. */
  readonly cacheDir: string;
  /** Hears why a program runs operator by operator although the engine could record. */
  readonly onFallback?: (reason: string) => void;
}

/**
 * Identities of the engines that can run here, best first; last is webgpu, which a job has to name.
 * Opens none, so it is cheap, but that webgpu, where it is installed, is asked for its adapter.
 * @param gpus of this machine; one engine serves those that are alike, several kinds it does not
 */
export async function availableEngines({
  cacheDir,
  gpus = [],
}: Pick<EngineOptions, "cacheDir"> & { readonly gpus?: readonly Gpu[] }): Promise<
  readonly EngineIdentity[]
> {
  const [hasNative, hasGpuBuild] = await Promise.all([
    isBuilt(cacheDir, "cpu"),
    isBuilt(cacheDir, "gpu"),
  ]);
  const [gpu] = gpus;
  const areAlike = gpus.every(({ model, driver }) => model === gpu?.model && driver === gpu.driver);
  const onGpu = hasGpuBuild && gpu && areAlike ? [nativeIdentity({ gpu })] : [];
  const onWebgpu = await webgpuEngines(cacheDir);
  if (!hasNative) return [...onGpu, wasmIdentity(), ...onWebgpu];
  const levelled = isaLevelsOf(processorFlags()).map((isa) => nativeIdentity({ isa }));
  const compiled = nativeIdentity({ xla: true });
  return [...onGpu, nativeIdentity(), ...levelled, compiled, wasmIdentity(), ...onWebgpu];
}

/** Where it is installed and finds an adapter: a process of half a second says so. */
async function webgpuEngines(cacheDir: string): Promise<EngineIdentity[]> {
  if (!(await isWebgpuInstalled(cacheDir))) return [];
  const adapter = await lookForAdapter(cacheDir).catch(() => undefined);
  return adapter === undefined ? [] : [webgpuIdentity(adapter)];
}

async function isBuilt(cacheDir: string, build: NativeBuild): Promise<boolean> {
  const { addon } = await nativePlace(cacheDir, build);
  return access(addon).then(
    () => true,
    () => false,
  );
}

/** Whether an engine can make data of a program: then workers need not compile it themselves. */
export const canRecord = (name: string) => name === "native";

/**
 * Loads TensorFlow.js.
 * @throws AppError `engine-unavailable`
 */
export async function openEngine(
  name: string,
  { cacheDir, onFallback = sayFallback, ...native }: EngineOptions,
): Promise<Engine> {
  if (name === "wasm") return (await import("./wasm-engine.ts")).openWasmEngine();
  if (name === "webgpu") return (await import("./webgpu-engine.ts")).openWebgpuEngine(cacheDir);
  if (name !== "native") throw new AppError("engine-unavailable", `there is no engine "${name}"`);
  const { openNativeEngine } = await import("./native-engine.ts");
  return openNativeEngine(cacheDir, native, onFallback);
}

export interface RecordedEngine {
  readonly identity: EngineIdentity;
  /**
   * @param program may still be on its way: what else it needs is opened meanwhile
   * @returns undefined when the program turns out to be no data
   * @throws AppError `engine-mismatch` when the data was made for something else
   */
  open(
    program: Promise<Uint8Array | undefined>,
    options: CompileOptions,
  ): Promise<CompiledProgram | undefined>;
}

/**
 * What runs programs that are data; TensorFlow.js is not loaded.
 * @throws AppError `engine-unavailable`
 */
export async function openRecordedEngine(
  name: string,
  { cacheDir, ...native }: Omit<EngineOptions, "onFallback">,
): Promise<RecordedEngine> {
  if (!canRecord(name))
    throw new AppError("engine-unavailable", `engine "${name}" runs no programs that are data`);
  const [{ loadBinding }, { openRecorded }] = await Promise.all([
    import("./native-binding.ts"),
    import("./recorded-program.ts"),
  ]);
  const [binding, identity] = [await loadBinding(cacheDir, native), nativeIdentity(native)];
  return {
    identity,
    open: (program, options) => openRecorded({ binding, identity }, program, options),
  };
}

function sayFallback(reason: string): void {
  process.stderr.write(`engine: the program runs operator by operator, since ${reason}\n`);
}
