/** Who the wasm engine is. */
import { createRequire } from "node:module";
import type { EngineIdentity } from "./port.ts";

const require = createRequire(import.meta.url);

/** V8's numbers enter through initialisation and through `Math` in programs, so its version counts. */
export function wasmIdentity(): EngineIdentity {
  const { version } = require("@tensorflow/tfjs-backend-wasm/package.json") as { version: string };
  const v8 = process.versions.v8.split(".").slice(0, 2).join(".");
  return { name: "wasm", text: `wasm tfjs-${version} simd kernels-2 threads-1 v8-${v8}` };
}
