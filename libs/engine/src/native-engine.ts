/** TensorFlow's C library behind TensorFlow.js: tfjs-node's kernels (JavaScript) over our own addon. */
import { createRequire } from "node:module";
import { AppError } from "@coxswain/domain";
import { tf } from "@coxswain/program";
import type { Binding, RecordedBackend } from "./binding.ts";
import { compileProgram, type Recorder } from "./compile.ts";
import { loadBinding, unavailable } from "./native-binding.ts";
import { installNativeKernels } from "./native-kernels.ts";
import { type NativeOptions, nativeIdentity } from "./native-place.ts";
import type { Engine } from "./port.ts";
import { buildRecorder } from "./record-function.ts";

/**
 * @param onFallback hears why a program is not recorded
 * @throws AppError `engine-unavailable` when it is not installed or cannot be loaded
 */
export async function openNativeEngine(
  cacheDir: string,
  options: NativeOptions,
  onFallback: Recorder["onFallback"],
): Promise<Engine> {
  // The library may still be on its way in, by another thread: last what has to wait for it.
  const Backend = loadKernels();
  const binding = await loadBinding(cacheDir, options);
  await registerBackend(Backend, binding).catch((cause: unknown) => {
    throw unavailable(cause);
  });
  const identity = nativeIdentity(options);
  const { xla: isXla = false } = options;
  const record = buildRecorder(tf.backend() as unknown as RecordedBackend, isXla);
  const recorder = { binding, record, onFallback: isXla ? refuseToCompile : onFallback };
  return {
    identity,
    compile: (options, mode) =>
      compileProgram(identity, options, mode === "eager" ? undefined : recorder),
  };
}

function refuseToCompile(reason: string): never {
  const sentence = "XLA compiles steps that can be recorded, and this program's cannot, since";
  throw new AppError("program-invalid", `${sentence} ${reason}`);
}

type Backend = new (binding: Binding, name: string) => never;

/** TensorFlow.js and tfjs-node's kernels for it. */
function loadKernels(): Backend {
  const require = createRequire(import.meta.url);
  restoreUtil(require("node:util") as Record<string, unknown>);
  require("@tensorflow/tfjs-node/dist/register_all_kernels.js");
  const { NodeJSKernelBackend } =
    require("@tensorflow/tfjs-node/dist/nodejs_kernel_backend.js") as {
      NodeJSKernelBackend: Backend;
    };
  void tf.layers; // Loads the rest.
  return NodeJSKernelBackend;
}

async function registerBackend(Backend: Backend, binding: Binding): Promise<void> {
  const build = () => new Backend(binding, "@tensorflow/tfjs-node");
  tf.registerBackend("tensorflow", build, 3);
  await tf.setBackend("tensorflow");
  await tf.ready();
  installNativeKernels(tf.backend() as unknown as Parameters<typeof installNativeKernels>[0]);
}

/** Node 23 removed two helpers that tfjs-node 4.22 still calls. */
function restoreUtil(util: Record<string, unknown>): void {
  util["isNullOrUndefined"] ??= (value: unknown) => value === null || value === undefined;
  util["isArray"] = Array.isArray;
}
