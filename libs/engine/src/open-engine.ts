/** Which engines this machine has, and how to open one. */
import { access } from "node:fs/promises";
import { AppError } from "@coxswain/domain";
import { nativeIdentity, nativePlace } from "./native-place.ts";
import type { Engine, EngineIdentity } from "./port.ts";
import { openWasmEngine, wasmIdentity } from "./wasm-engine.ts";

export interface EngineOptions {
  /** Where engines that the set-up brought are kept. */
  readonly cacheDir: string;
}

/** Identities of the engines that can run here, best first. Cheap: opens none. */
export async function availableEngines({
  cacheDir,
}: EngineOptions): Promise<readonly EngineIdentity[]> {
  const { addon } = await nativePlace(cacheDir);
  const hasNative = await access(addon).then(
    () => true,
    () => false,
  );
  return hasNative ? [nativeIdentity(), wasmIdentity()] : [wasmIdentity()];
}

/** @throws AppError `engine-unavailable` */
export async function openEngine(name: string, { cacheDir }: EngineOptions): Promise<Engine> {
  if (name === "wasm") return openWasmEngine();
  if (name !== "native") throw new AppError("engine-unavailable", `there is no engine "${name}"`);
  const { openNativeEngine } = await import("./native-engine.ts");
  return openNativeEngine(cacheDir);
}
