/** A worker that cannot begin: what it waits for, and what of that ends the job. */
import { deepEqual, equal, match } from "node:assert/strict";
import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { Bus } from "@coxswain/bus";
import { AppError, type ErrorCode, type JobId } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { startTestBus } from "@coxswain/embedded/testing";
import { runWorker } from "../../services/trainer/src/worker/worker.ts";

const jobId = "begins" as JobId;

/** @param disturb the bus as this worker sees it */
async function begin(
  t: TestContext,
  disturb: (bus: Bus) => Partial<Bus>,
  leave: AbortSignal = new AbortController().signal,
) {
  const { bus, url, dataDir } = await startTestBus(t);
  const job = exampleJob("begins", { steps: 3, workers: { min: 1, max: 1 } });
  const source = "job-api" as const;
  await bus.append({
    name: "job.submitted",
    id: `${jobId}.submitted`,
    jobId,
    source,
    payload: { job },
  });
  const folder = join(dataDir, "worker");
  const end = await runWorker({
    bus: { ...bus, ...disturb(bus) },
    config: {
      NATS_URL: url,
      STORE_URL: pathToFileURL(join(dataDir, "store")).href,
      COXSWAIN_JOB_ID: jobId,
      COXSWAIN_WORKER_ID: "w0",
      COXSWAIN_NODE_ID: "n1",
      COXSWAIN_WORKER_DIR: folder,
    } as never,
    leave,
    log: () => undefined,
  });
  const told: string[] = [];
  for await (const item of bus.follow({ jobId })) {
    if (item.kind === "caught-up") break;
    told.push(item.event.name);
  }
  const word = JSON.parse(await readFile(join(folder, "exit.json"), "utf8"));
  deepEqual(word, end);
  return { end, told: told.slice(1) };
}

const failing = (code: ErrorCode) => () => Promise.reject(new AppError(code, "not now"));

test("a bus that is away when the program is fetched is asked again", async (t) => {
  let asked = 0;
  const { end, told } = await begin(t, ({ getBundle }) => ({
    getBundle: (sha256) => {
      asked += 1;
      return asked < 3 ? failing("bus-unavailable")() : getBundle(sha256);
    },
  }));
  // Then it answers: nobody has uploaded this program, which no other worker would mend.
  equal(asked, 3);
  match(end.error?.message ?? "", /no bundle .* was uploaded/);
  deepEqual([end.exitCode, told], [10, ["training.failed"]]);
});

test("what another worker may do better loses the worker, not the job", async (t) => {
  const { end, told } = await begin(t, () => ({ getBundle: failing("overloaded") }));
  deepEqual([end.exitCode, end.error?.code, told], [13, "overloaded", []]);
});

test("asked to leave while it waits for the bus: it leaves in good order", async (t) => {
  const leave = new AbortController();
  const { end, told } = await begin(
    t,
    () => ({
      getBundle: () => {
        leave.abort();
        return failing("bus-unavailable")();
      },
    }),
    leave.signal,
  );
  deepEqual([end.exitCode, told], [0, ["worker.left"]]);
});
