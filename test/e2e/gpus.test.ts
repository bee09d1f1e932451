/** GPUs from the driver's word to the worker's environment, with a driver that is made up. */
import { deepEqual, equal } from "node:assert/strict";
import { chmod, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { liveWorkers } from "@coxswain/embedded";
import { fixture, startTestPlatform } from "./start-platform.ts";

const model = "NVIDIA H100 80GB HBM3";
const uuids = [
  "GPU-5e10b7bc-91f1-640a-e927-963f7f82de40",
  "GPU-5e10b7bc-91f1-640a-e927-963f7f82de41",
];

/** A folder with an `nvidia-smi` that tells of two GPUs. */
async function fakeDriver(t: TestContext): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-driver-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const lines = uuids.map((uuid, index) => `${index}, ${uuid}, ${model}, 81559, 580.95.05`);
  const path = join(folder, "nvidia-smi");
  await writeFile(
    path,
    `#!/bin/sh\nprintf '%s\\n' ${lines.map((line) => `'${line}'`).join(" ")}\n`,
  );
  await chmod(path, 0o755);
  return folder;
}

async function visibleTo(pid: number): Promise<string | undefined> {
  const variables = (await readFile(`/proc/${pid}/environ`, "utf8")).split("\0");
  const name = "CUDA_VISIBLE_DEVICES=";
  return variables.find((variable) => variable.startsWith(name))?.slice(name.length);
}

test("the node offers its GPUs, and each worker sees its own and no other", async (t) => {
  const driver = await fakeDriver(t);
  const path = `${driver}:${process.env["PATH"]}`;
  const { api, run, dataDir, isUnhurried, release } = await startTestPlatform(t, { PATH: path });
  const seen: Record<string, (string | undefined)[]> = {};
  const look = async (name: string) => {
    const workers = await liveWorkers(dataDir);
    seen[name] = (await Promise.all(workers.map(({ pid }) => visibleTo(pid)))).sort();
    await release();
  };
  const asking = ["spec.resources={cpu: 0.5, memory: 512, gpu: 1, gpuMemory: 80000}", isUnhurried];
  const { last } = await run(fixture, asking, async ({ name }) => {
    if (name === "training.progressed" && seen["own"] === undefined) await look("own");
    return false;
  });
  equal(last.name, "job.succeeded");
  // Whoever has trained on it knows that it is there.
  const { items } = (await api.get("/v1/nodes")) as { items: Record<string, unknown>[] };
  const facts = { model, memoryMib: 81_559, driver: "580.95.05" };
  deepEqual(items[0]!["gpus"], [
    { index: 0, ...facts },
    { index: 1, ...facts },
  ]);
  await run(fixture, ["spec.workers={min: 1, max: 1}"], async ({ name }) => {
    if (name !== "worker.joined") return false;
    await look("none");
    return true;
  });
  deepEqual(seen, { own: uuids, none: [""] });
});

test("a job with more GPUs than any node has waits, and is told", async (t) => {
  const { run } = await startTestPlatform(t);
  const { last } = await run(
    fixture,
    ["spec.resources={cpu: 0.5, memory: 512, gpu: 1}"],
    // Before the node has said that it is there, the job waits for another reason.
    ({ name, payload }) => name === "job.queued" && /No node has/.test(payload.message),
  );
  deepEqual(
    [last.payload.reason, last.payload.message],
    ["WaitingForNodes", "No node has 1 GPUs, which each worker needs."],
  );
});
