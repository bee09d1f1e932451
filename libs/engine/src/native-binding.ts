/** Loads our addon, and with it TensorFlow's C library. */
import { createRequire } from "node:module";
import { join } from "node:path";
import { AppError } from "@coxswain/domain";
import type { Binding } from "./binding.ts";
import {
  engineEnvironment,
  type NativeOptions,
  type NativePlace,
  nativePlace,
  tensorflowVersion,
} from "./native-place.ts";
import { contextConfig, seesGpu } from "./tensorflow-config.ts";

/** In the order of loading: the second needs the first. */
const libraries = ["libtensorflow_framework.so.2", "libtensorflow_cc.so.2"];

/** @throws AppError `engine-unavailable` when it is not installed or cannot be loaded */
export async function loadBinding(cacheDir: string, options: NativeOptions): Promise<Binding> {
  const place = await nativePlace(cacheDir, options.gpu === undefined ? "cpu" : "gpu");
  try {
    const binding = createRequire(import.meta.url)(place.addon) as Binding;
    openTensorflow(binding, place, options);
    return binding;
  } catch (cause) {
    throw unavailable(cause);
  }
}

/** @throws Error for a library of another version, or when the GPU that is wanted is not there */
export function openTensorflow(
  binding: Pick<Binding, "init" | "devices">,
  { tensorflow }: NativePlace,
  options: NativeOptions = {},
): void {
  const paths = libraries.map((library) => join(tensorflow, "lib", library));
  const variables = Object.entries(engineEnvironment("native", options)).flat();
  const version = binding.init(paths, variables, contextConfig(options.gpu !== undefined));
  if (version !== tensorflowVersion)
    throw new Error(`the library says that it is ${version}, not ${tensorflowVersion}`);
  const devices = binding.devices();
  if (options.gpu !== undefined && !seesGpu(devices))
    throw new Error(
      `TensorFlow sees no GPU, though the driver tells of ${options.gpu.model} (driver ${options.gpu.driver}); it sees ${devices.join(", ")}. Is the driver one for CUDA 12, and was \`cox engine install native-gpu\` whole?`,
    );
}

export function unavailable(cause: unknown): AppError {
  const words = cause instanceof Error ? cause.message : String(cause);
  return new AppError("engine-unavailable", `the native engine cannot be loaded: ${words}`, {
    cause,
  });
}
