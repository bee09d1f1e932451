/** Loads the job's engine for all threads of the process. */
import { parentPort, workerData } from "node:worker_threads";
import { needsGpu, settingsOf } from "@coxswain/domain";
import { loadBinding } from "@coxswain/engine/native-binding";
import type { EarlyEngine } from "./early-engine.ts";

const { identity, cacheDir } = workerData as EarlyEngine;
// Which GPU it is, the driver has to be asked.
if (!needsGpu(identity)) {
  const binding = await loadBinding(cacheDir, settingsOf(identity));
  // Node unloads an addon, and what it knows, with the last thread that has it: until there are others.
  parentPort!.once("message", () => binding.trim());
}
