import { deepEqual } from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import type { JobId } from "@coxswain/domain";
import { startTestBus } from "@coxswain/embedded/testing";
import { Agent } from "./agent.ts";

const jobId = "digits-1" as JobId;

test("a worker that ends before its agent has noted it down is told to be lost", async (t) => {
  const { bus, dataDir } = await startTestBus(t);
  const stop = new AbortController();
  // There is no such program: the process has ended before its file is written.
  const { execPath } = process;
  process.execPath = join(dataDir, "nothing");
  t.after(() => {
    process.execPath = execPath;
  });
  const agent = new Agent(
    { bus, signal: stop.signal, now: Date.now, log: () => undefined },
    {
      ...{ nodeId: "n1", folder: join(dataDir, "node"), leaveTimeoutMs: 1000 },
      workerEnvironment: () => ({}),
    },
  );
  const running = agent.run();
  const worker = {
    ...{ jobId, workerId: "w1", engine: { name: "wasm", identity: "wasm" } },
    resources: { cpu: 1, memoryMib: 64, gpu: 0 },
  };
  await bus.bucket("assignments").put("n1", { epoch: 1, workers: [worker] });
  const told: unknown[] = [];
  for await (const item of bus.follow({ jobId, signal: stop.signal })) {
    if (item.kind !== "event") continue;
    const { name, payload } = item.event;
    told.push([name, "exitCode" in payload && payload.exitCode]);
    stop.abort();
  }
  await running;
  deepEqual(told, [["worker.lost", 127]]);
});
