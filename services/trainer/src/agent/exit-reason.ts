/** Why a worker ended: its own word if it left one, else what the system and its last lines say. */
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import type { Ended } from "./process.ts";

export interface ExitReason {
  /** Left in good order, or finished. */
  readonly isOrderly: boolean;
  readonly error: { readonly code: string; readonly message: string; readonly step?: number };
  readonly generation: number;
  readonly step: number;
}

interface ExitFile {
  readonly exitCode: number;
  readonly generation: number;
  readonly step: number;
  readonly error?: { readonly code: string; readonly message: string; readonly step?: number };
}

const heapLimit = /heap out of memory|ERR_WORKER_OUT_OF_MEMORY|allocation failed/i;
const tailChars = 4000;

/** @param wasAsked it was asked to leave; SIGTERM ends a worker that is still starting at once */
export async function exitReasonOf(
  folder: string,
  ended: Ended,
  wasAsked: boolean,
): Promise<ExitReason> {
  const file = await readLastWord(join(folder, "exit.json"));
  const place = { generation: file?.generation ?? 0, step: file?.step ?? 0 };
  if (file?.error !== undefined) return { isOrderly: false, error: file.error, ...place };
  const endedWhileStarting = file === undefined && wasAsked && ended.signal === "SIGTERM";
  if (file?.exitCode === 0 || endedWhileStarting)
    return { isOrderly: true, error: { code: "worker-failed", message: "" }, ...place };
  if (file?.exitCode === 12)
    return {
      isOrderly: false,
      error: { code: "stale-generation", message: "its group went on without it" },
      ...place,
    };
  return { isOrderly: false, error: await guess(folder, ended), ...place };
}

/** Undefined: it had no time to leave a word, or to finish it. */
async function readLastWord(path: string): Promise<ExitFile | undefined> {
  try {
    return JSON.parse(await readFile(path, "utf8")) as ExitFile;
  } catch {
    return undefined;
  }
}

async function guess(folder: string, { exitCode, signal }: Ended): Promise<ExitReason["error"]> {
  const log = (await readFile(join(folder, "output.log"), "utf8").catch(() => "")).slice(
    -tailChars,
  );
  if (heapLimit.test(log))
    return { code: "out-of-memory", message: "the worker reached its memory limit" };
  if (signal !== null)
    return { code: "worker-failed", message: `the worker was ended by ${signal}` };
  if (exitCode === null) return { code: "worker-failed", message: "the worker's process is gone" };
  const lines = log.split("\n").filter((line) => /\b(error|fatal)\b/i.test(line));
  const last = lines.find((line) => /^\w*Error/.test(line)) ?? lines.at(-1) ?? "it left no message";
  return {
    code: "worker-failed",
    message: `the worker ended with code ${exitCode}: ${last.slice(0, 500)}`,
  };
}
