export { buildAddon } from "./build-addon.ts";
export { type Gpu, lookForGpus, parseGpus, visibleOf } from "./gpus.ts";
export {
  type Installed,
  type InstallOptions,
  installNative,
  removeNative,
} from "./install-native.ts";
export { takeState, tensorRanges } from "./layout.ts";
export { type EngineSpeed, measureEngine } from "./measure/measure-engine.ts";
export { engineEnvironment, type NativeBuild, nativePlace } from "./native-place.ts";
export {
  availableEngines,
  canRecord,
  type EngineOptions,
  openEngine,
  openRecordedEngine,
  type RecordedEngine,
} from "./open-engine.ts";
export type {
  CompiledProgram,
  CompileOptions,
  Engine,
  EngineIdentity,
  Layout,
  ProgramMode,
  Segment,
  ShardInput,
  ShardsInput,
} from "./port.ts";
export { predict } from "./predict.ts";
export { startShards } from "./start-shards.ts";
export { wasmIdentity } from "./wasm-identity.ts";
export { installWebgpu, removeWebgpu } from "./webgpu-install.ts";
