/** The engine that is always there: TensorFlow.js's wasm back end, one thread, SIMD without relaxed SIMD. */
import { createRequire } from "node:module";
import { tf } from "@coxswain/program";
import { compileProgram } from "./compile.ts";
import type { Engine, EngineIdentity } from "./port.ts";
import { installWasmKernels } from "./wasm-kernels.ts";

const require = createRequire(import.meta.url);

/** V8's numbers enter through initialisation and through `Math` in programs, so its version counts. */
export function wasmIdentity(): EngineIdentity {
  const { version } = require("@tensorflow/tfjs-backend-wasm/package.json") as { version: string };
  const v8 = process.versions.v8.split(".").slice(0, 2).join(".");
  return { name: "wasm", text: `wasm tfjs-${version} simd kernels-2 threads-1 v8-${v8}` };
}

export async function openWasmEngine(): Promise<Engine> {
  const wasm = require("@tensorflow/tfjs-backend-wasm") as { setThreadsCount(count: number): void };
  wasm.setThreadsCount(1);
  await tf.setBackend("wasm");
  await tf.ready();
  installWasmKernels();
  const identity = wasmIdentity();
  return { identity, compile: (options) => compileProgram(identity, options) };
}
