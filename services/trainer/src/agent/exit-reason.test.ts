import { deepEqual, equal } from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { exitReasonOf } from "./exit-reason.ts";

async function folderWith(t: TestContext, files: Readonly<Record<string, string>>) {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-exit-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  for (const [name, text] of Object.entries(files)) await writeFile(join(folder, name), text);
  return folder;
}

const killed = { exitCode: null, signal: "SIGKILL" } as const;
const terminated = { exitCode: null, signal: "SIGTERM" } as const;

test("its own word counts", async (t) => {
  const error = { code: "program-threw", message: "boom", step: 3 };
  const word = JSON.stringify({ exitCode: 10, generation: 2, step: 3, error });
  const folder = await folderWith(t, { "exit.json": word });
  const reason = await exitReasonOf(folder, { exitCode: 10, signal: null }, false);
  deepEqual(reason, { isOrderly: false, error, generation: 2, step: 3 });
});

test("ended while it started: in good order when it was asked, lost when it was not", async (t) => {
  const folder = await folderWith(t, {});
  equal((await exitReasonOf(folder, terminated, true)).isOrderly, true);
  equal((await exitReasonOf(folder, terminated, false)).isOrderly, false);
  equal((await exitReasonOf(folder, killed, true)).isOrderly, false);
});

test("killed while it wrote its word, it left none", async (t) => {
  for (const word of ["", '{"exitCode":0,"gener']) {
    const folder = await folderWith(t, { "exit.json": word });
    const { isOrderly, error } = await exitReasonOf(folder, killed, false);
    deepEqual([isOrderly, error.message], [false, "the worker was ended by SIGKILL"]);
  }
});

test("without a word, its last lines and the signal say why", async (t) => {
  const log = "FATAL ERROR: Reached heap limit Allocation failed - JavaScript heap out of memory\n";
  const hungry = await exitReasonOf(await folderWith(t, { "output.log": log }), killed, false);
  equal(hungry.error.code, "out-of-memory");
  const silent = await exitReasonOf(await folderWith(t, {}), killed, false);
  deepEqual(silent.error, { code: "worker-failed", message: "the worker was ended by SIGKILL" });
});
