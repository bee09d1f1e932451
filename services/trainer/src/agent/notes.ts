/**
 * What an agent notes of its workers on the disk, so that its successor knows every one of them,
 * wherever the agent was killed. `start.json` says, before there is a process, that a worker is to
 * be started. `worker.json` says which process it is; it is made once and never replaced, by whoever
 * is first: the agent that started it, the worker itself before it does anything else, or the next
 * agent, which notes that there is none. A process that finds another one noted ends at once.
 */
import { randomUUID } from "node:crypto";
import { link, mkdir, readdir, readFile, rename, rm, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";

export interface WorkerIds {
  readonly workerId: string;
  readonly jobId: string;
  /** Ids of the GPUs that are its own. */
  readonly gpus?: readonly string[];
}

export interface WorkerFile extends WorkerIds {
  /** 0: there is no process, and never will be. */
  readonly pid: number;
  /** Of the process, in the kernel's own words; with the pid it names one process. */
  readonly startTime: string;
}

const startName = "start.json";
const workerName = "worker.json";

export const startFileOf = (folder: string) => join(folder, startName);

/** Field 22 of /proc/PID/stat; undefined when there is no such process, or it is only a zombie. */
export async function startTimeOf(pid: number): Promise<string | undefined> {
  const stat = await readFile(`/proc/${pid}/stat`, "utf8").catch(() => undefined);
  if (stat === undefined) return undefined;
  // The name in parentheses may hold anything; the fields start behind it.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return fields[0] === "Z" ? undefined : fields[19];
}

/** This worker is about to be started. */
export async function noteStart(folder: string, ids: WorkerIds): Promise<void> {
  await mkdir(folder, { recursive: true });
  const path = startFileOf(folder);
  await writeFile(`${path}.tmp`, JSON.stringify(ids));
  await rename(`${path}.tmp`, path);
}

/** Which process a worker is, unless somebody has noted it before: returns what stands there. */
export async function noteProcess(
  folder: string,
  ids: WorkerIds,
  pid: number,
): Promise<WorkerFile> {
  const startTime = (await startTimeOf(pid)) ?? "";
  const path = join(folder, workerName);
  const draft = join(folder, `${workerName}.${randomUUID()}.tmp`);
  await writeFile(draft, JSON.stringify({ ...ids, pid, startTime }));
  await link(draft, path).catch((error: NodeJS.ErrnoException) => {
    if (error.code !== "EEXIST") throw error;
  });
  await rm(draft);
  // Where it was another's, and that one's end is told by now.
  return (await readJson<WorkerFile>(path)) ?? { ...ids, pid: 0, startTime: "" };
}

/**
 * A worker's first act, before anybody can hear of it.
 *
 * @param startFile what its agent noted of it; undefined: it was started without one
 * @returns false when it was given up meanwhile
 */
export async function claimStart(startFile: string | undefined, pid: number): Promise<boolean> {
  if (startFile === undefined) return true;
  const folder = dirname(startFile);
  const ids = await readJson<WorkerIds>(startFile);
  if (ids === undefined) return false;
  const noted = await noteProcess(folder, ids, pid);
  if (noted.pid !== pid) return false;
  if ((await readJson(startFile)) !== undefined) return true;
  // Its end was told and its files removed just now: the one that it made is one too many.
  await rm(join(folder, workerName), { force: true });
  return false;
}

/** All workers whose end was not told yet, alive or not, after their agent has gone. */
export async function takeOver(nodeFolder: string): Promise<WorkerFile[]> {
  const names = await readdir(nodeFolder).catch(() => []);
  const found = await Promise.all(
    names.map(async (name) => {
      const folder = join(nodeFolder, name);
      const file = await readJson<WorkerFile>(join(folder, workerName));
      if (file !== undefined) return [file];
      const ids = await readJson<WorkerIds>(startFileOf(folder));
      return ids === undefined ? [] : [await noteProcess(folder, ids, 0)];
    }),
  );
  return found.flat();
}

/** Its end is told. Whoever still comes up finds that it is not wanted. */
export async function forgetWorker(folder: string): Promise<void> {
  await rm(startFileOf(folder), { force: true });
  await rm(join(folder, workerName), { force: true });
}

async function readJson<T>(path: string): Promise<T | undefined> {
  const text = await readFile(path, "utf8").catch(() => undefined);
  return text === undefined ? undefined : (JSON.parse(text) as T);
}
