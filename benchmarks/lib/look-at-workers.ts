/** The workers of a job as processes: their memory, and when they were started. */
import { glob, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

export interface WorkersSeen {
  readonly mib: number;
  /** When the first process was started. */
  readonly startedMs: number;
}

/** The workers' processes, by the files that their agent keeps. */
export async function lookAtWorkers(dataDir: string, job: string): Promise<WorkersSeen> {
  let [mib, startedMs] = [0, Number.POSITIVE_INFINITY];
  for await (const file of glob("**/worker.json", { cwd: dataDir })) {
    const path = join(dataDir, file);
    const { pid, jobId } = JSON.parse(await readFile(path, "utf8"));
    if (jobId !== job) continue;
    const status = await readFile(`/proc/${pid}/status`, "utf8").catch(() => "");
    mib = Math.max(mib, Number(/^VmRSS:\s+(\d+) kB/m.exec(status)?.[1] ?? 0) / 1024);
    startedMs = Math.min(startedMs, (await stat(path)).birthtimeMs);
  }
  return { mib, startedMs };
}
