/**
 * Worker processes. They are detached, so that they outlive their agent; a file with the pid and
 * the process's start time lets the next agent find them, and never take another process for one.
 */
import { spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, readdir, readFile, rename, writeFile } from "node:fs/promises";
import { join } from "node:path";

export interface WorkerFile {
  readonly workerId: string;
  readonly jobId: string;
  readonly pid: number;
  /** Of the process, in the kernel's own words; with the pid it names one process. */
  readonly startTime: string;
  /** Ids of the GPUs that are its own. */
  readonly gpus?: readonly string[];
}

export interface Ended {
  readonly exitCode: number | null;
  readonly signal: string | null;
}

const workerEntry = new URL("../worker/main.ts", import.meta.url).pathname;

/** Field 22 of /proc/PID/stat; undefined when there is no such process, or it is only a zombie. */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (stat === undefined) return undefined;
  // The name in parentheses may hold anything; the fields start behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? undefined : fields[19];
}

export async function isAlive({
  pid,
  startTime,
}: Pick<WorkerFile, "pid" | "startTime">): Promise<boolean> {
  return (await startTimeOf(pid)) === startTime;
}

export interface Started {
  readonly file: WorkerFile;
  /** Resolves even for who asks after its end: it may end while its file is being written. */
  readonly ended: Promise<Ended>;
}

/** Starts a worker; its output goes to `output.log` in its folder. */
export async function startWorker(
  folder: string,
  ids: Pick<WorkerFile, "workerId" | "jobId" | "gpus">,
  options: {
    readonly environment: Readonly<Record<string, string>>;
    readonly memoryMib: number;
  },
): Promise<Started> {
  await mkdir(folder, { recursive: true });
  const output = openSync(join(folder, "output.log"), "a");
  const child = spawn(
    process.execPath,
    [`--max-old-space-size=${options.memoryMib}`, workerEntry],
    {
      detached: true,
      stdio: ["ignore", output, output],
      env: options.environment,
    },
  );
  closeSync(output);
  child.unref();
  const ended = new Promise<Ended>((resolve) => {
    child.once("exit", (exitCode, signal) => resolve({ exitCode, signal }));
    child.once("error", () => resolve({ exitCode: 127, signal: null }));
  });
  const file: WorkerFile = {
    ...ids,
    pid: child.pid ?? 0,
    startTime: (await startTimeOf(child.pid ?? 0)) ?? "",
  };
  const path = join(folder, "worker.json");
  await writeFile(`${path}.tmp`, JSON.stringify(file));
  await rename(`${path}.tmp`, path);
  return { file, ended };
}

/** The workers of an earlier agent, alive or not. */
export async function readWorkerFiles(folder: string): Promise<WorkerFile[]> {
  const names = await readdir(folder).catch(() => []);
  const files = await Promise.all(
    names.map((name) => readFile(join(folder, name, "worker.json"), "utf8").catch(() => undefined)),
  );
  return files.flatMap((text) => (text === undefined ? [] : [JSON.parse(text) as WorkerFile]));
}
