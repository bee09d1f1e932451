/** The workers of a job as processes: their memory, and when they were started. */
import { glob, readFile, stat } from "node:fs/promises";
import { join } from "node:path";

export interface WorkersSeen {
  /** Resident memory of the largest one. */
  readonly mib: number;
  /** The same with pages that processes share counted in parts. */
  readonly proportionalMib: number;
  /** When the first process was started. */
  readonly startedMs: number;
}

/** The kernel walks over all pages to tell them, and the worker's memory is locked meanwhile. */
const sharesEveryMs = 5000;
let sharesAtMs = Number.NEGATIVE_INFINITY;

/** The workers' processes, by the files that their agent keeps. */
export async function lookAtWorkers(dataDir: string, job: string): Promise<WorkersSeen> {
  const areSharesDue = performance.now() - sharesAtMs >= sharesEveryMs;
  if (areSharesDue) sharesAtMs = performance.now();
  let [mib, proportionalMib, startedMs] = [0, 0, Number.POSITIVE_INFINITY];
  for await (const file of glob("**/worker.json", { cwd: dataDir })) {
    const path = join(dataDir, file);
    const { pid, jobId } = JSON.parse(await readFile(path, "utf8"));
    if (jobId !== job) continue;
    const kinds = ["status", ...(areSharesDue ? ["smaps_rollup"] : [])];
    const read = (kind: string) => readFile(`/proc/${pid}/${kind}`, "utf8").catch(() => "");
    const sums = (await Promise.all(kinds.map(read))).join("\n");
    const of = (name: string) =>
      Number(new RegExp(`^${name}:\\s+(\\d+) kB`, "m").exec(sums)?.[1] ?? 0) / 1024;
    mib = Math.max(mib, of("VmRSS"));
    proportionalMib = Math.max(proportionalMib, of("Pss"));
    startedMs = Math.min(startedMs, (await stat(path)).birthtimeMs);
  }
  return { mib, proportionalMib, startedMs };
}
