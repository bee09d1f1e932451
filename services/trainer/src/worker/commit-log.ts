/** A line for each committed step, for benchmarks and tests: COXSWAIN_COMMIT_LOG names the file. */
import { appendFileSync } from "node:fs";
import type { WorkerConfig } from "./config.ts";

export function commitLog(config: WorkerConfig, step: number): void {
  if (config.COXSWAIN_COMMIT_LOG === undefined) return;
  appendFileSync(
    config.COXSWAIN_COMMIT_LOG,
    `${JSON.stringify({ worker: config.COXSWAIN_WORKER_ID, step, atMs: Date.now() })}\n`,
  );
}
