/** A line for each committed step, for benchmarks and tests: COXSWAIN_COMMIT_LOG names the file. */
import { openSync, writeSync } from "node:fs";
import type { WorkerConfig } from "./config.ts";

let file: number | undefined;

/** @param agoMs since the commit */
export function commitLog(config: WorkerConfig, step: number, agoMs: number): void {
  if (config.COXSWAIN_COMMIT_LOG === undefined) return;
  file ??= openSync(config.COXSWAIN_COMMIT_LOG, "a");
  writeSync(
    file,
    `${JSON.stringify({ worker: config.COXSWAIN_WORKER_ID, step, atMs: Date.now() - Math.round(agoMs) })}\n`,
  );
}
