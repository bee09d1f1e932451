export type {
  CompiledProgram,
  CompileOptions,
  Engine,
  EngineIdentity,
  Layout,
  Segment,
  ShardInput,
} from "./port.ts";
