import { deepEqual } from "node:assert/strict";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import type { Bus } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import type { NewEvent } from "@coxswain/events";
import type { WorkerConfig } from "./config.ts";
import { reportEnd } from "./ending.ts";

test("a failure names the worker that says it, or the one whose fault it is", async (t) => {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-ending-"));
  t.after(() => rm(folder, { recursive: true }));
  const config = {
    ...{ COXSWAIN_JOB_ID: "j", COXSWAIN_WORKER_ID: "w1", COXSWAIN_WORKER_DIR: folder },
  } as WorkerConfig;
  const said: NewEvent[] = [];
  const bus = { append: async (event: NewEvent) => void said.push(event) } as unknown as Bus;
  const end = async (error: AppError) => {
    await reportEnd(bus, config, { generation: 3, step: 7 }, { exitCode: 10, error, step: 7 });
    return JSON.parse(await readFile(join(folder, "exit.json"), "utf8")).error;
  };
  const own = { code: "program-threw", message: "no", step: 7 };
  deepEqual(await end(new AppError("program-threw", "no")), own);
  const others = { code: "peer-slow", message: "w2 is slow", step: 7, workerId: "w2" };
  const details = { workerId: "w2" };
  deepEqual(await end(new AppError("peer-slow", "w2 is slow", { details })), others);
  deepEqual(
    said.map(({ name, payload }) => [name, payload]),
    [{ ...own, workerId: "w1" }, others].map((error) => [
      "training.failed",
      { generation: 3, error },
    ]),
  );
});
