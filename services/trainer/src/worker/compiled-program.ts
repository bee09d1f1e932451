/**
 * The job's program as this worker runs it: the data that a worker before it has made, or its own.
 * Made once for a job, kept by its hash, and named in the log by the first worker that compiled it.
 */
import { setTimeout as delay } from "node:timers/promises";
import { Worker } from "node:worker_threads";
import type { Bus } from "@coxswain/bus";
import { AppError, type JobCompiled, type JobId, reviveError } from "@coxswain/domain";
import { canRecord } from "@coxswain/engine";
import { sha256Of } from "@coxswain/store";
import { whoCompiles } from "../decide/who-compiles.ts";
import type { Compiled, CompileReply, CompileThreadOptions } from "./compute-messages.ts";
import type { WorkerConfig } from "./config.ts";
import type { JobContext } from "./job-context.ts";
import { type PatiencePorts, patiently } from "./patiently.ts";

/** Another worker that compiles longer than this is not waited for: it may never have started. */
const compileWaitMs = 10_000;

export interface ProgramPorts {
  readonly bus: Pick<Bus, "getBundle" | "putBundle" | "append">;
  readonly config: WorkerConfig;
  /** What the log says of the job. */
  readonly context: Pick<JobContext, "job" | "until">;
  readonly asking: PatiencePorts;
  /** The program's own step is about to run for the first time. */
  readonly onRecording: () => void;
  readonly log: (sentence: string, fields: object) => void;
}

export interface ObtainedProgram {
  /** Undefined when the program runs operator by operator. */
  readonly recorded: Uint8Array | undefined;
  readonly reason?: string;
  /** What the seed gives, where this worker has compiled the program itself. */
  readonly initial?: Float32Array;
  /** That XLA took for it here; undefined without XLA. */
  readonly xlaSeconds?: number | undefined;
  /** Settles when what compiling needed is let go. */
  readonly ended?: Promise<unknown>;
}

/** @throws AppError with the program's own error */
export async function obtainProgram(
  ports: ProgramPorts,
  options: CompileThreadOptions,
): Promise<ObtainedProgram> {
  const { bus, config, context, log } = ports;
  if (!canRecord(config.COXSWAIN_ENGINE)) return { recorded: undefined };
  await anotherCompiles(ports);
  const { compiled } = context.job();
  if (compiled?.mode === "eager") return { recorded: undefined };
  const { data } = compiled ?? {};
  const kept = data && (await patiently(ports.asking, () => bus.getBundle(data.sha256)));
  if (kept !== undefined) return { recorded: kept };
  const made = await compileInThread(options, ports.onRecording);
  if (made.recorded === undefined)
    log("the program runs operator by operator", { reason: made.reason });
  return made;
}

/** Resolves when this worker need not wait for another one to compile the program. */
async function anotherCompiles({ context, config }: ProgramPorts): Promise<void> {
  const enough = new AbortController();
  await Promise.race([
    context.until((job) => whoCompiles(job, config.COXSWAIN_WORKER_ID) !== "another"),
    delay(compileWaitMs, undefined, { signal: enough.signal }).catch(() => undefined),
  ]);
  enough.abort();
}

/** Tells the log what all workers of the job shall run, if nobody did. Training does not wait for it. */
export async function tellCompiled(
  { bus, config, context, log }: ProgramPorts,
  { recorded, reason, xlaSeconds }: ObtainedProgram,
  { hash, mode, identity }: Compiled,
): Promise<void> {
  if (context.job().compiled !== undefined) return;
  const { COXSWAIN_JOB_ID: jobId, COXSWAIN_WORKER_ID: workerId } = config;
  const data = recorded && { sha256: sha256Of(recorded), bytes: recorded.length };
  const facts = {
    ...(data && { data }),
    ...(reason !== undefined && { reason }),
    ...(xlaSeconds !== undefined && { xlaSeconds }),
  };
  const payload = { workerId, programHash: hash, engine: identity, mode, ...facts };
  const id = `${jobId}.worker.compiled`;
  try {
    if (data && recorded) await bus.putBundle(data.sha256, recorded);
    const event = {
      name: "worker.compiled",
      jobId: jobId as JobId,
      id,
      source: "trainer",
    } as const;
    await bus.append({ ...event, payload });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    log("the compiled program could not be kept; each worker compiles its own", { err: error });
  }
}

/** @throws AppError `engine-mismatch` when this worker runs something else than the job does */
export function requireSameProgram(job: JobCompiled | undefined, { hash, mode }: Compiled): void {
  if (job === undefined || job.programHash === hash) return;
  const words = { recorded: "recorded", eager: "operator by operator" };
  throw new AppError(
    "engine-mismatch",
    `the job runs program ${job.programHash.slice(0, 12)}, ${words[job.mode]}; this worker has ${hash.slice(0, 12)}, ${words[mode]}`,
  );
}

/** TensorFlow.js lives as long as this takes. */
export function compileInThread(
  options: CompileThreadOptions,
  onRecording: () => void,
): Promise<ObtainedProgram> {
  const { promise, resolve, reject } = Promise.withResolvers<ObtainedProgram>();
  const file = new URL("./compile-thread.ts", import.meta.url);
  const thread = new Worker(file, { workerData: options });
  thread.on("message", (message: CompileReply) => {
    switch (message.kind) {
      case "recording":
        return onRecording();
      case "recorded":
        return resolve({
          recorded: message.data,
          initial: message.initial,
          xlaSeconds: message.xlaSeconds,
        });
      case "eager":
        return resolve({ recorded: undefined, reason: message.reason });
      case "failed":
        return reject(reviveError(message, "program-threw"));
    }
  });
  thread.on("error", (cause) => reject(new AppError("program-threw", cause.message, { cause })));
  const ended = promise.then(
    () => thread.terminate(),
    () => thread.terminate(),
  );
  return promise.then((made) => ({ ...made, ended }));
}
