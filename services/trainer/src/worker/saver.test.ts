/** The thread that writes checkpoints, beside a compute thread that the test plays. */
import { deepEqual, equal, rejects } from "node:assert/strict";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { manifestOf, openStore, sha256Of } from "@coxswain/store";
import { allocate, copyState, vectorsOf } from "../exchange/memory.ts";
import type { Snapshot } from "./save-messages.ts";
import { type SaveOptions, Saver } from "./saver.ts";
import { Snapshots } from "./snapshots.ts";

const parameterFloats = 20_000;
const floats = parameterFloats * 2;
const layout = {
  segments: [],
  metricNames: ["loss"],
  parameterFloats,
  slotCount: 1,
  vectorFloats: parameterFloats + 16,
};

async function start(t: TestContext) {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-saver-"));
  const areas = allocate(layout, 2);
  const vectors = vectorsOf(areas);
  const compute = { snapshot: (snapshot: Snapshot) => snapshots.ask(snapshot) };
  const storeUrl = pathToFileURL(folder).href;
  const failures: string[] = [];
  const onFailed = (error: Error) => failures.push(error.message);
  const saver = new Saver({ storeUrl, areas, compute, onFailed });
  const snapshots = new Snapshots(saver.ends);
  t.after(async () => {
    await saver.stop();
    await rm(folder, { recursive: true, force: true });
    deepEqual(failures, []);
  });
  const save = (path: string, options: Partial<SaveOptions> = {}) => {
    const onTrouble = () => undefined;
    const request = { path, from: 0, to: floats, triesMax: 1, newest: undefined, onTrouble };
    return saver.save({ ...request, ...options });
  };
  const fill = (value: number) => {
    snapshots.settle();
    for (const vector of [vectors.parameters, ...vectors.slots])
      for (let i = 0; i < vector.length; i += 1) vector[i] = value + i;
  };
  const bytesNow = (from = 0, to = floats) => new Uint8Array(copyState(vectors, from, to).buffer);
  return { saver, save, fill, bytesNow, folder, vectors, store: openStore(storeUrl) };
}

test("what is saved is the state when it was asked for, though it changes at once", async (t) => {
  const { save, fill, bytesNow, folder } = await start(t);
  fill(1);
  const [before, weights] = [bytesNow(100, 30_000), bytesNow(0, parameterFloats)];
  const saving = save("a.bin", { from: 100, to: 30_000 });
  fill(2);
  const saved = await saving;
  deepEqual(saved, {
    path: "a.bin",
    bytes: before.length,
    sha256: sha256Of(before),
    weightsSha256: sha256Of(weights),
    isReused: false,
  });
  deepEqual(new Uint8Array(await readFile(join(folder, "a.bin"))), before);
});

test("a part that has not changed is not written again; one float makes the difference", async (t) => {
  const { save, fill, vectors, store, folder } = await start(t);
  fill(1);
  const { path, bytes, sha256 } = await save("10/a.bin");
  const manifest = JSON.stringify({ version: 1, parts: [{ path, bytes, sha256 }] });
  const text = new TextEncoder().encode(manifest);
  const newest = { path: "10", sha256: sha256Of(text) };
  const manifestPath = manifestOf(newest);
  await store.write(manifestPath, [text]);
  deepEqual(
    [(await save("20/a.bin", { newest })).isReused, (await save("30/a.bin", { newest })).path],
    [true, "10/a.bin"],
  );
  // Whoever distrusts the store names no newest checkpoint.
  equal((await save("40/a.bin")).path, "40/a.bin");
  vectors.slots[0]![7] = -1;
  const changed = await save("50/a.bin", { newest });
  deepEqual([changed.isReused, changed.path], [false, "50/a.bin"]);
  const files = (await readdir(folder, { recursive: true })).filter((name) => name.endsWith("n"));
  deepEqual(files.sort(), ["10/a.bin", manifestPath, "40/a.bin", "50/a.bin"]);
  // A manifest that is not the committed one says nothing.
  await writeFile(join(folder, manifestPath), manifest.replace("10/a", "66/a"));
  equal((await save("60/a.bin", { newest })).path, "60/a.bin");
});

test("a store that fails is told, and tried again where that is asked for", async (t) => {
  const { save, folder } = await start(t);
  await writeFile(join(folder, "blocked"), "");
  await rejects(save("blocked/a.bin"), { code: "store-failed" });
  const troubles: string[] = [];
  const onTrouble = ({ code }: { readonly code: string }) => {
    troubles.push(code);
    void rm(join(folder, "blocked"));
  };
  const { path } = await save("blocked/a.bin", { triesMax: 3, onTrouble });
  deepEqual([path, troubles], ["blocked/a.bin", ["store-failed"]]);
});

test("copies that wait are counted: a slow store bounds them", async (t) => {
  const { saver, save } = await start(t);
  const many = 512 * 1024 * 256;
  equal(saver.hasRoom(many), true);
  const saving = save("a.bin");
  deepEqual([saver.hasRoom(many), saver.hasRoom(floats)], [false, true]);
  await saving;
  equal(saver.hasRoom(many), true);
});
