export { availableEngines, type EngineOptions, openEngine } from "./open-engine.ts";
export type {
  CompiledProgram,
  CompileOptions,
  Engine,
  EngineIdentity,
  Layout,
  Segment,
  ShardInput,
} from "./port.ts";
export { predict } from "./predict.ts";
export { wasmIdentity } from "./wasm-engine.ts";
