/** Which engines this machine has, and how to open one. */
import { AppError } from "@coxswain/domain";
import type { Engine, EngineIdentity } from "./port.ts";
import { openWasmEngine, wasmIdentity } from "./wasm-engine.ts";

export interface EngineOptions {
  /** Where engines that the set-up brought are kept. */
  readonly cacheDir: string;
}

/** Identities of the engines that can run here, best first. Cheap: opens none. */
export async function availableEngines(
  _options: EngineOptions,
): Promise<readonly EngineIdentity[]> {
  return [wasmIdentity()];
}

/** @throws AppError `engine-unavailable` */
export async function openEngine(name: string, _options: EngineOptions): Promise<Engine> {
  if (name === "wasm") return openWasmEngine();
  throw new AppError("engine-unavailable", `there is no engine "${name}" here`);
}
