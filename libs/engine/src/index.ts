export { type Installed, type InstallOptions, installNative } from "./install-native.ts";
export { engineEnvironment } from "./native-place.ts";
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
