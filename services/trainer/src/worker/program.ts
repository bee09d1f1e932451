/** Brings the job's program bundle to this machine. */
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { Bus } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import type { WorkerConfig } from "./config.ts";

/** @throws AppError `program-not-found` */
export async function fetchProgram(
  bus: Bus,
  config: WorkerConfig,
  program: string,
): Promise<string> {
  const hash = program.replace("sha256:", "");
  const bytes = await bus.getBundle(hash);
  if (bytes === undefined)
    throw new AppError("program-not-found", `no bundle ${program} was uploaded`);
  await mkdir(config.COXSWAIN_WORKER_DIR, { recursive: true });
  const path = join(config.COXSWAIN_WORKER_DIR, `program-${hash.slice(0, 16)}.mjs`);
  await writeFile(path, bytes);
  return path;
}
