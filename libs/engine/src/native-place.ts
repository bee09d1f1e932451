/** Where the native engine lies in the cache, and who it is. */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { createRequire } from "node:module";
import { cpus } from "node:os";
import { join } from "node:path";
import type { EngineIdentity } from "./port.ts";

export const tensorflowVersion = "2.21.0";
const require = createRequire(import.meta.url);
const addonSource = new URL("../native/addon.cc", import.meta.url);

export interface NativePlace {
  /** Libraries and headers of TensorFlow. */
  readonly tensorflow: string;
  /** Our addon, by the hash of its source. */
  readonly addon: string;
  readonly addonSource: string;
}

export async function nativePlace(cacheDir: string): Promise<NativePlace> {
  const source = await readFile(addonSource);
  const hash = createHash("sha256").update(source).digest("hex").slice(0, 12);
  const tensorflow = join(cacheDir, `tensorflow-${tensorflowVersion}`);
  return {
    tensorflow,
    addon: join(tensorflow, `addon-${hash}.node`),
    addonSource: addonSource.pathname,
  };
}

/** oneDNN and Eigen choose their code by the processor's instruction set, so it decides bits. */
function instructionSet(): string {
  const model = cpus()[0]?.model ?? "unknown";
  return createHash("sha256").update(model).digest("hex").slice(0, 8);
}

/** Who the native engine is on this machine. */
export function nativeIdentity(): EngineIdentity {
  const { version } = require("@tensorflow/tfjs-node/package.json") as { version: string };
  const v8 = process.versions.v8.split(".").slice(0, 2).join(".");
  return {
    name: "native",
    text: `native tensorflow-${tensorflowVersion} tfjs-${version} replay kernels-2 onednn threads-1 cpu-${instructionSet()} v8-${v8}`,
  };
}

/** Variables that decide what TensorFlow does; it reads some when it is loaded, so a process starts with them. */
export function engineEnvironment(name: string): Readonly<Record<string, string>> {
  return name === "native"
    ? { TF_CPP_MIN_LOG_LEVEL: "3", TF_ENABLE_ONEDNN_OPTS: "1", OMP_NUM_THREADS: "1" }
    : {};
}
