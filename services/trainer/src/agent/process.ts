/**
 * Worker processes. They are detached, so that they outlive their agent; what it notes of them
 * (`notes.ts`) lets the next agent find them, and never take another process for one.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { join } from "node:path";
import {
  noteProcess,
  noteStart,
  startFileOf,
  startTimeOf,
  type WorkerFile,
  type WorkerIds,
} from "./notes.ts";

export interface Ended {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

const workerEntry = new URL("../worker/main.ts", import.meta.url).pathname;

export async function isAlive({
  pid,
  startTime,
}: Pick<WorkerFile, "pid" | "startTime">): Promise<boolean> {
  return pid > 0 && (await startTimeOf(pid)) === startTime;
}

export interface Started {
  readonly file: WorkerFile;
  /** Resolves even for who asks after its end: it may end while its file is being written. */
  readonly ended: Promise<Ended>;
}

/** Starts a worker; its output goes to `output.log` in its folder. */
export async function startWorker(
  folder: string,
  ids: WorkerIds,
  options: {
    readonly environment: Readonly<Record<string, string>>;
    readonly memoryMib: number;
  },
): Promise<Started> {
  await noteStart(folder, ids);
  const output = openSync(join(folder, "output.log"), "a");
  const child = spawn(
    process.execPath,
    [`--max-old-space-size=${options.memoryMib}`, workerEntry],
    {
      detached: true,
      stdio: ["ignore", output, output],
      env: { ...options.environment, COXSWAIN_START_FILE: startFileOf(folder) },
    },
  );
  closeSync(output);
  child.unref();
  const ended = new Promise<Ended>((resolve) => {
    child.once("exit", (exitCode, signal) => resolve({ exitCode, signal }));
    child.once("error", () => resolve({ exitCode: 127, signal: null }));
  });
  return { file: await noteProcess(folder, ids, child.pid ?? 0), ended };
}
