import { testEngine } from "./testing.ts";
import { openWasmEngine } from "./wasm-engine.ts";

testEngine(await openWasmEngine());
