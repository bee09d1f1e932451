/** The engine that is always there: TensorFlow.js's wasm back end, one thread, SIMD without relaxed SIMD. */
import { createRequire } from "node:module";
import { tf } from "@coxswain/program";
import { compileProgram } from "./compile.ts";
import type { Engine } from "./port.ts";
import { wasmIdentity } from "./wasm-identity.ts";
import { installWasmKernels } from "./wasm-kernels.ts";

export async function openWasmEngine(): Promise<Engine> {
  const require = createRequire(import.meta.url);
  // Methods of tensors, `x.flatten()`, which the recurrent layers and some gradients use.
  require("@tensorflow/tfjs");
  const wasm = require("@tensorflow/tfjs-backend-wasm") as { setThreadsCount(count: number): void };
  wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  await tf.ready();
  installWasmKernels();
  const identity = wasmIdentity();
  return { identity, compile: (options) => compileProgram(identity, options) };
}
