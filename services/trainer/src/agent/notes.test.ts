import { deepEqual, equal } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, open, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import {
  claimStart,
  forgetWorker,
  noteProcess,
  noteStart,
  startFileOf,
  startTimeOf,
  takeOver,
} from "./notes.ts";

const ids = { workerId: "w1", jobId: "digits-1", gpus: ["GPU-1"] };
/** Any process that lives. */
const { pid } = process;

async function started(t: TestContext) {
  const node = await mkdtemp(join(tmpdir(), "coxswain-notes-"));
  t.after(() => rm(node, { recursive: true, force: true }));
  const folder = join(node, "w1");
  await noteStart(folder, ids);
  return { node, folder, claim: () => claimStart(startFileOf(folder), pid) };
}

const known = async () => ({ ...ids, pid, startTime: await startTimeOf(pid) });
const nobody = { ...ids, pid: 0, startTime: "" };

test("the agent or the worker: whoever is first notes the process, and the next agent finds it", async (t) => {
  const agentFirst = await started(t);
  deepEqual(await noteProcess(agentFirst.folder, ids, pid), await known());
  equal(await agentFirst.claim(), true);
  deepEqual(await takeOver(agentFirst.node), [await known()]);

  const workerFirst = await started(t);
  equal(await workerFirst.claim(), true);
  deepEqual(await noteProcess(workerFirst.folder, ids, pid), await known());
  deepEqual(await takeOver(workerFirst.node), [await known()]);
});

test("killed before it could note the process: the worker notes itself", async (t) => {
  const { node, claim } = await started(t);
  equal(await claim(), true);
  deepEqual(await takeOver(node), [await known()]);
});

test("who comes up after the next agent has looked is not wanted", async (t) => {
  const { node, folder, claim } = await started(t);
  deepEqual(await takeOver(node), [nobody]);
  equal(await claim(), false);
  deepEqual(await takeOver(node), [nobody], "an agent that was killed before it told of it");
  await rm(startFileOf(folder));
  equal(await claim(), false, "half forgotten");
  deepEqual(await takeOver(node), [nobody]);
  await forgetWorker(folder);
  equal(await claim(), false);
  deepEqual([await readdir(folder), await takeOver(node)], [[], []]);
});

test("forgotten between its look and its note, the process takes its note back", async (t) => {
  const { folder, claim } = await started(t);
  await forgetWorker(folder);
  // Whoever opens a pipe to read waits for who writes, and reads on though it has no name any more.
  execFileSync("mkfifo", [startFileOf(folder)]);
  const claiming = claim();
  const pipe = await open(startFileOf(folder), "w");
  await forgetWorker(folder);
  await pipe.writeFile(JSON.stringify(ids));
  await pipe.close();
  equal(await claiming, false);
  deepEqual(await readdir(folder), []);
});

test("at the same time: the next agent knows the process, or the process is not wanted", async (t) => {
  for (let round = 0; round < 100; round += 1) {
    const { node, folder, claim } = await started(t);
    const look = async () => {
      const [file] = await takeOver(node);
      if (file?.pid === 0) await forgetWorker(folder);
      return file?.pid;
    };
    const [isWanted, noted] = await Promise.all([claim(), look()]);
    equal(noted, isWanted ? pid : 0);
    deepEqual(await readdir(folder), isWanted ? ["start.json", "worker.json"] : []);
  }
});

test("a worker without an agent needs no note", async () => {
  equal(await claimStart(undefined, pid), true);
});
