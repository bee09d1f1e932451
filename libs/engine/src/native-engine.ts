/** TensorFlow's C library behind TensorFlow.js: tfjs-node's kernels (JavaScript) over our own addon. */
import { createRequire } from "node:module";
import { AppError } from "@coxswain/domain";
import { tf } from "@coxswain/program";
import type { Binding, RecordedBackend } from "./binding.ts";
import { compileProgram } from "./compile.ts";
import { nativeIdentity, nativePlace } from "./native-place.ts";
import type { Engine } from "./port.ts";
import { buildRecorder } from "./shard-replay.ts";

/** ConfigProto {intra_op_parallelism_threads: 1, inter_op_parallelism_threads: 1} */
const oneThread = Uint8Array.of(0x10, 1, 0x28, 1);

/** @throws AppError `engine-unavailable` when it is not installed or cannot be loaded */
export async function openNativeEngine(cacheDir: string): Promise<Engine> {
  const place = await nativePlace(cacheDir);
  const require = createRequire(import.meta.url);
  restoreUtil(require("node:util") as Record<string, unknown>);
  try {
    const binding = require(place.addon) as Binding;
    binding.init(oneThread);
    require("@tensorflow/tfjs-node/dist/register_all_kernels.js");
    const { NodeJSKernelBackend } =
      require("@tensorflow/tfjs-node/dist/nodejs_kernel_backend.js") as {
        NodeJSKernelBackend: new (binding: Binding, name: string) => never;
      };
    tf.registerBackend(
      "tensorflow",
      () => new NodeJSKernelBackend(binding, "@tensorflow/tfjs-node"),
      3,
    );
    await tf.setBackend("tensorflow");
    await tf.ready();
  } catch (cause) {
    throw new AppError(
      "engine-unavailable",
      `the native engine cannot be loaded: ${cause instanceof Error ? cause.message : cause}`,
      { cause },
    );
  }
  const identity = nativeIdentity();
  const recorder = buildRecorder(tf.backend() as unknown as RecordedBackend, (reason) =>
    process.stderr.write(`engine: the step runs operator by operator, since ${reason}\n`),
  );
  return { identity, compile: (options) => compileProgram(identity, options, recorder) };
}

/** Node 23 removed two helpers that tfjs-node 4.22 still calls. */
function restoreUtil(util: Record<string, unknown>): void {
  util["isNullOrUndefined"] ??= (value: unknown) => value === null || value === undefined;
  util["isArray"] = Array.isArray;
}
