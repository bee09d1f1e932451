import { deepEqual, equal, match } from "node:assert/strict";
import { spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { JobId } from "@coxswain/domain";
import { startTestBus } from "@coxswain/embedded/testing";
import { Agent } from "./agent.ts";
import { noteStart, startFileOf, takeOver } from "./notes.ts";

const jobId = "digits-1" as JobId;
const ids = { workerId: "w1", jobId };
const workerEntry = new URL("../worker/main.ts", import.meta.url).pathname;

/** An agent on a real bus; `told` follows the log until somebody was lost. */
async function startAgent(t: TestContext) {
  const { bus, dataDir } = await startTestBus(t);
  const stop = new AbortController();
  const node = join(dataDir, "node");
  const adopted = Promise.withResolvers<void>();
  const agent = new Agent(
    {
      ...{ bus, signal: stop.signal, now: Date.now },
      log: (sentence) => {
        if (sentence === "worker adopted") adopted.resolve();
      },
    },
    {
      ...{ nodeId: "n1", folder: node, leaveTimeoutMs: 1000 },
      workerEnvironment: () => ({}),
    },
  );
  const told = async () => {
    const running = agent.run();
    const events: (readonly [string, string | undefined, number | undefined])[] = [];
    for await (const item of bus.follow({ jobId, signal: stop.signal })) {
      if (item.kind !== "event" || item.event.name !== "worker.lost") continue;
      const { error, exitCode } = item.event.payload;
      events.push([item.event.payload.workerId, error.message, exitCode]);
      stop.abort();
    }
    await running;
    return events;
  };
  return { bus, dataDir, node, folder: join(node, "w1"), told, adopted: adopted.promise };
}

test("a worker that ends before its agent has noted it down is told to be lost", async (t) => {
  const { bus, dataDir, told } = await startAgent(t);
  // There is no such program: the process has ended before its file is written.
  const { execPath } = process;
  process.execPath = join(dataDir, "nothing");
  t.after(() => {
    process.execPath = execPath;
  });
  const worker = {
    ...{ jobId, workerId: "w1", engine: { name: "wasm", identity: "wasm" } },
    resources: { cpu: 1, memoryMib: 64, gpu: 0 },
  };
  await bus.bucket("assignments").put("n1", { epoch: 1, workers: [worker] });
  deepEqual(
    (await told()).map(([workerId, , exitCode]) => [workerId, exitCode]),
    [["w1", 127]],
  );
});

test("an agent that was killed before it started the process: told to be lost, and who comes up late ends", async (t) => {
  const { node, folder, told } = await startAgent(t);
  await noteStart(folder, ids);
  deepEqual(await told(), [["w1", "its agent ended while it started the worker", undefined]]);
  deepEqual(await takeOver(node), []);
  const late = spawnSync(process.execPath, [workerEntry], {
    env: { COXSWAIN_START_FILE: startFileOf(folder) },
  });
  equal(late.status, 0);
  match(late.stderr.toString(), /given up before it had started/);
  deepEqual(await takeOver(node), [], "it has left no trace");
});

test("an agent that was killed right after the process began: the next one knows it", async (t) => {
  const { folder, told, adopted } = await startAgent(t);
  await noteStart(folder, ids);
  const notes = new URL("./notes.ts", import.meta.url).href;
  const script = `import { claimStart } from ${JSON.stringify(notes)};
    console.log(await claimStart(process.env.COXSWAIN_START_FILE, process.pid));
    process.stdin.resume();`;
  const worker = spawn(process.execPath, ["--input-type=module", "--eval", script], {
    env: { COXSWAIN_START_FILE: startFileOf(folder) },
  });
  t.after(() => worker.kill("SIGKILL"));
  const [said] = await once(worker.stdout, "data");
  equal(String(said), "true\n");
  const lost = told();
  await adopted;
  worker.kill("SIGKILL");
  deepEqual(await lost, [["w1", "the worker's process is gone", undefined]]);
});

test("killed between starting the process and noting it: its end is told all the same", async (t) => {
  const { folder, told } = await startAgent(t);
  const processes = new URL("./process.ts", import.meta.url).href;
  // The agent is killed at the first look at what it has started.
  const script = `import { registerHooks } from "node:module";
    import { readFileSync } from "node:fs";
    registerHooks({ load(url, context, next) {
      const loaded = next(url, context);
      if (url !== ${JSON.stringify(processes)}) return loaded;
      const source = String(loaded.source ?? readFileSync(new URL(url)));
      return { ...loaded, source: source.replace("const ended =", 'process.kill(process.pid, "SIGKILL"); const ended =') };
    } });
    const { startWorker } = await import(${JSON.stringify(processes)});
    await startWorker(${JSON.stringify(folder)}, ${JSON.stringify(ids)}, { environment: {}, memoryMib: 512 });`;
  const { signal } = spawnSync(process.execPath, ["--input-type=module", "--eval", script]);
  equal(signal, "SIGKILL");
  // It ends by itself, whenever: its environment lacks everything.
  deepEqual(
    (await told()).map(([workerId]) => workerId),
    ["w1"],
  );
});
