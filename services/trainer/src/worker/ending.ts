/** How a worker ends, and whom it tells: who started it by `exit.json` and exit code, the log by events. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Bus } from "@coxswain/bus";
import type { AppError, JobId } from "@coxswain/domain";
import type { WorkerConfig } from "./config.ts";

export type Ending =
  /** 0: it left or finished, 12: its generation went on without it. */
  | { readonly exitCode: 0; readonly reason: "left" | "finished" }
  | { readonly exitCode: 12 }
  /** 10 program or engine, 11 memory, 13: it could not begin, but another may. */
  | { readonly exitCode: 10 | 11 | 13; readonly error: AppError; readonly step: number };

export function endingOf(error: AppError, step: number): Ending {
  return { exitCode: error.code === "out-of-memory" ? 11 : 10, error, step };
}

/** Before its first step. What a retry may mend costs the job this worker, not its life. */
export function endingOfStart(error: AppError): Ending {
  return error.retryable ? { exitCode: 13, error, step: -1 } : endingOf(error, -1);
}

/** Resolves when the worker shall leave before it has a group to leave. */
export function leftEarly(leave: AbortSignal, hasGroup: () => boolean): Promise<Ending> {
  return new Promise((resolve) => {
    const onLeave = () => hasGroup() || resolve({ exitCode: 0, reason: "left" });
    if (leave.aborted) onLeave();
    leave.addEventListener("abort", onLeave, { once: true });
  });
}

/** What `exit.json` holds. */
export interface WorkerEnd {
  readonly exitCode: number;
  readonly generation: number;
  readonly step: number;
  readonly error?: {
    readonly code: string;
    readonly message: string;
    readonly step?: number;
    /** Whose fault it is, where it is another's. */
    readonly workerId?: string;
  };
}

const leftTimeoutMs = 10_000;
/** With its frame it fits into the 4096 bytes that Kubernetes keeps of a last word. */
const messageCharsMax = 3000;

/** Writes `exit.json`, then tells the log. */
export async function reportEnd(
  bus: Bus,
  config: WorkerConfig,
  group: { readonly generation: number; readonly step: number } | undefined,
  ending: Ending,
): Promise<WorkerEnd> {
  const place = { generation: group?.generation ?? 0, step: group?.step ?? 0 };
  const end = { exitCode: ending.exitCode, ...place, ...failureOf(ending) };
  await mkdir(config.COXSWAIN_WORKER_DIR, { recursive: true });
  const file = config.COXSWAIN_EXIT_FILE ?? join(config.COXSWAIN_WORKER_DIR, "exit.json");
  await writeFile(file, JSON.stringify(end));
  if (ending.exitCode === 0) await sayLeft(bus, config, place, ending.reason);
  if ("error" in end && ending.exitCode === 10) await sayFailed(bus, config, end);
  return end;
}

function failureOf(ending: Ending): Pick<WorkerEnd, "error"> {
  if (!("error" in ending)) return {};
  const { code, sentence: message, details } = ending.error;
  const workerId = details?.["workerId"];
  const step = ending.step >= 0 ? { step: ending.step } : {};
  const whose = typeof workerId === "string" ? { workerId } : {};
  return { error: { code, message: message.slice(0, messageCharsMax), ...step, ...whose } };
}

export function sayOfWorker(
  bus: Bus,
  config: WorkerConfig,
  what: "joined" | "standing-by",
  generation: number,
  step: number,
): void {
  const { COXSWAIN_JOB_ID: jobId, COXSWAIN_WORKER_ID: workerId, COXSWAIN_NODE_ID: nodeId } = config;
  const name = `worker.${what}` as const;
  const id = `${jobId}.${name}.${workerId}`;
  const payload = { generation, step, workerId, nodeId };
  void bus
    .append({ name, jobId: jobId as JobId, id, source: "trainer", payload }, { timeoutMs: 60_000 })
    .catch(() => undefined); // The generation that is formed names this worker too.
}

async function sayLeft(
  bus: Bus,
  config: WorkerConfig,
  { generation, step }: { readonly generation: number; readonly step: number },
  reason: string,
): Promise<void> {
  const { COXSWAIN_JOB_ID: jobId, COXSWAIN_WORKER_ID: workerId } = config;
  const payload = { generation: Math.max(1, generation), step, workerId, reason };
  const id = `${jobId}.worker.left.${workerId}`;
  await bus
    .append(
      { name: "worker.left", jobId: jobId as JobId, id, source: "trainer", payload },
      { timeoutMs: leftTimeoutMs },
    )
    .catch(() => undefined); // The agent sees the process end.
}

/** Errors that a restart would not mend end the job; the agent reports the others as a lost worker. */
async function sayFailed(bus: Bus, config: WorkerConfig, end: WorkerEnd): Promise<void> {
  const { COXSWAIN_JOB_ID: jobId, COXSWAIN_WORKER_ID: workerId } = config;
  const payload = { generation: end.generation, error: { workerId, ...end.error! } };
  const id = `${jobId}.training.failed.${workerId}`;
  await bus
    .append({ name: "training.failed", jobId: jobId as JobId, id, source: "trainer", payload })
    .catch(() => undefined); // exit.json has it; the agent reports it.
}
