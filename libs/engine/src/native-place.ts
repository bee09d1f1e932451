/** Where the native engine lies in the cache, and who it is. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { join } from "node:path";
import type { EngineSettings, IsaLevel } from "@coxswain/domain";
import type { Gpu } from "./gpus.ts";
import type { EngineIdentity } from "./port.ts";
import { processorFlags, vectorFlags } from "./processor.ts";

export const tensorflowVersion = "2.21.0";
const require = createRequire(import.meta.url);
const addonSource = new URL("../native/addon.cc", import.meta.url);
const addonHeader = new URL("../native/tree-sum.h", import.meta.url);

export interface NativePlace {
  /** Libraries and headers of TensorFlow. */
  readonly tensorflow: string;
  /** Our addon, by the hash of its sources. */
  readonly addon: string;
  readonly addonSource: string;
}

/** TensorFlow's build for processors, or the one for GPUs: our addon serves both. */
export type NativeBuild = "cpu" | "gpu";

export async function nativePlace(
  cacheDir: string,
  build: NativeBuild = "cpu",
): Promise<NativePlace> {
  const hasher = createHash("sha256");
  for (const source of [addonSource, addonHeader]) hasher.update(await readFile(source));
  const hash = hasher.digest("hex").slice(0, 12);
  const tensorflow = join(
    cacheDir,
    `tensorflow-${build === "gpu" ? "gpu-" : ""}${tensorflowVersion}`,
  );
  return {
    tensorflow,
    addon: join(tensorflow, `addon-${hash}.node`),
    addonSource: addonSource.pathname,
  };
}

/**
 * oneDNN chooses its code by the processor, so it decides bits: the model, and which instructions of
 * it can be used here.
 */
function processorHash(): string {
  const facts = [cpus()[0]?.model ?? "unknown", ...vectorFlags(processorFlags())];
  return createHash("sha256").update(facts.join(" ")).digest("hex").slice(0, 8);
}

export interface NativeOptions extends EngineSettings {
  /** The GPU that it computes on; undefined: the processor. */
  readonly gpu?: Pick<Gpu, "model" | "driver"> | undefined;
}

/** Who the native engine is on this machine. */
export function nativeIdentity({ isa, xla, gpu }: NativeOptions = {}): EngineIdentity {
  const { version } = require("@tensorflow/tfjs-node/package.json") as { version: string };
  const v8 = process.versions.v8.split(".").slice(0, 2).join(".");
  const processor = isa === undefined ? `cpu-${processorHash()}` : `isa-${isa}`;
  // Operators that GPUs lack run on the processor, so that counts too.
  const device = gpu === undefined ? processor : `${processor} ${gpuWords(gpu)}`;
  return {
    name: "native",
    ...(isa !== undefined && { isa }),
    ...(xla && { xla }),
    text: `native tensorflow-${tensorflowVersion} tfjs-${version} replay kernels-4 onednn${xla ? " xla" : ""} threads-1 ${device} v8-${v8}`,
  };
}

/** `gpu-nvidia-l4 driver-580.95.05 deterministic` */
function gpuWords({ model, driver }: Pick<Gpu, "model" | "driver">): string {
  const slug = model.toLowerCase().replaceAll(/[^a-z0-9]+/g, "-");
  return `gpu-${slug} driver-${driver} deterministic`;
}

/** Operators that give the same bits each time, float32 as it is, memory as it is needed. */
const gpuEnvironment = {
  TF_DETERMINISTIC_OPS: "1",
  TF_CUDNN_DETERMINISTIC: "1",
  CUBLAS_WORKSPACE_CONFIG: ":4096:8",
  NVIDIA_TF32_OVERRIDE: "0",
  TF_FORCE_GPU_ALLOW_GROWTH: "true",
};

const onednnLevels: Readonly<Record<IsaLevel, string>> = { avx2: "AVX2", avx512: "AVX512_CORE" };

/** Variables that decide what TensorFlow does; it reads some when it is loaded, so a process starts with them. */
export function engineEnvironment(
  name: string,
  { isa, xla, gpu }: NativeOptions = {},
): Readonly<Record<string, string>> {
  if (name !== "native") return {};
  return {
    ...{ TF_CPP_MIN_LOG_LEVEL: "3", TF_ENABLE_ONEDNN_OPTS: "1", OMP_NUM_THREADS: "1" },
    // TensorFlow's own allocator keeps twice the most that was ever needed, the recording's included.
    TF_ONEDNN_USE_SYSTEM_ALLOCATOR: "1",
    ...(gpu && gpuEnvironment),
    // What these say would decide bits, and is no part of the identity.
    ...(xla && { XLA_FLAGS: "", TF_XLA_FLAGS: "" }),
    ONEDNN_MAX_CPU_ISA: isa === undefined ? "DEFAULT" : onednnLevels[isa],
  };
}
