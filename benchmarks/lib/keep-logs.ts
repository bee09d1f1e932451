/** What says how a run came to where it cannot go on: kept when everything else of it is removed. */
import { cp, mkdtemp, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { basename, extname, join } from "node:path";
import { type Bus, connectBus } from "@coxswain/bus";
import type { Platform } from "@coxswain/embedded";

const kept = new Set([".log", ".json", ".jsonl"]);
const connectTimeoutMs = 5000;
/** Who is a member, and which workers each node shall run. */
const buckets = ["membership", "assignments", "leases"] as const;

/** @returns the folder: logs of services and workers, how workers ended, what was committed and told */
export async function keepLogs(
  { dataDir, natsUrl }: Pick<Platform, "dataDir" | "natsUrl">,
  events: readonly unknown[],
): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-kept-"));
  for (const name of ["logs", "nodes", "nats/nats-server.log", "commits.jsonl"])
    await cp(join(dataDir, name), join(folder, name), { recursive: true, filter: isKept }).catch(
      (error: unknown) => console.error(`not kept: ${error}`),
    );
  await writeLines(join(folder, "events.jsonl"), events);
  const records = await readBuckets(natsUrl).catch((error: unknown) => [String(error)]);
  await writeLines(join(folder, "buckets.jsonl"), records);
  return folder;
}

async function isKept(path: string): Promise<boolean> {
  const isFolder = (await stat(path).catch(() => undefined))?.isDirectory() === true;
  return isFolder || (kept.has(extname(path)) && !basename(path).startsWith("."));
}

const writeLines = (path: string, lines: readonly unknown[]) =>
  writeFile(path, lines.map((line) => `${JSON.stringify(line)}\n`).join(""));

async function readBuckets(url: string): Promise<unknown[]> {
  const bus: Bus = await connectBus({ url, name: "chaos", connectTimeoutMs });
  try {
    const entries = await Promise.all(
      buckets.map(async (bucket) => ({ bucket, entries: await bus.bucket(bucket).entries() })),
    );
    return entries;
  } finally {
    await bus.close();
  }
}
