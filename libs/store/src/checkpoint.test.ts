import { deepEqual, equal, rejects } from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { JobCheckpoint } from "@coxswain/domain";
import fc from "fast-check";
import {
  latestWholeCheckpoint,
  type Manifest,
  partRange,
  readCheckpoint,
  readParameters,
  sha256Of,
} from "./checkpoint.ts";
import { openFolderStore } from "./folder-store.ts";
import { manifestOf, type Store, storePaths } from "./store.ts";

test("parts meet on 64-byte boundaries and cover the vector", () => {
  fc.assert(
    fc.property(fc.nat({ max: 100_000 }), fc.integer({ min: 1, max: 64 }), (total, parts) => {
      let end = 0;
      for (let part = 0; part < parts; part += 1) {
        const { from, to } = partRange(total, part, parts);
        equal(from, end);
        equal(to >= from && (to % 16 === 0 || to === total), true);
        end = to;
      }
      equal(end, total);
    }),
  );
});

const parameterFloats = 32;
const slotCount = 2;

async function storeOf(t: TestContext) {
  const root = await mkdtemp(join(tmpdir(), "coxswain-checkpoint-"));
  t.after(() => rm(root, { recursive: true, force: true }));
  return { root, store: openFolderStore(root) };
}

async function save(store: Store, step: number, parts = 3): Promise<JobCheckpoint> {
  const vector = Float32Array.from(
    { length: parameterFloats * (1 + slotCount) },
    (_, i) => step + i / 7,
  );
  const bytes = new Uint8Array(vector.buffer);
  const listed = [];
  for (let part = 0; part < parts; part += 1) {
    const { from, to } = partRange(vector.length, part, parts);
    const path = storePaths.part("j", step, 1, part, parts);
    listed.push({ path, ...(await store.write(path, [bytes.subarray(from * 4, to * 4)])) });
  }
  const manifest = {
    version: 1,
    step,
    parameterFloats,
    slotCount,
    weightsSha256: sha256Of(bytes.subarray(0, parameterFloats * 4)),
    parts: listed,
  } as unknown as Manifest;
  const text = new TextEncoder().encode(JSON.stringify(manifest));
  const sha256 = sha256Of(text);
  await store.write(storePaths.manifest("j", step, sha256), [text]);
  const path = storePaths.checkpoint("j", step);
  return { step, path, sha256 } as JobCheckpoint;
}

test("a whole checkpoint is read back, from any number of parts", async (t) => {
  const { store } = await storeOf(t);
  for (const parts of [1, 2, 3, 6, 7]) {
    const saved = await save(store, 5, parts);
    const { vector } = await readCheckpoint(store, saved);
    deepEqual([vector.length, vector[0], vector[95]], [96, 5, Math.fround(5 + 95 / 7)]);
    const { parameters } = await readParameters(store, saved);
    deepEqual(parameters, vector.slice(0, parameterFloats));
  }
});

const damages: Record<string, (part: string) => Promise<void>> = {
  "one flipped bit": async (part) => {
    const bytes = await readFile(part);
    bytes[10]! ^= 1;
    await writeFile(part, bytes);
  },
  "a part cut short": async (part) => writeFile(part, (await readFile(part)).subarray(1)),
  "a part with more at its end": (part) => writeFile(part, "x", { flag: "a" }),
  "an empty part": (part) => writeFile(part, ""),
  "a part that is gone": (part) => rm(part),
};

for (const [name, damage] of Object.entries(damages)) {
  test(`${name} is found in every part, and the checkpoint before is used`, async (t) => {
    const { root, store } = await storeOf(t);
    const older = await save(store, 10);
    for (const part of [0, 1, 2]) {
      const newer = await save(store, 20);
      await damage(join(root, storePaths.part("j", 20, 1, part, 3)));
      const reports: number[] = [];
      const found = await latestWholeCheckpoint(store, [older, newer], ({ step }) =>
        reports.push(step),
      );
      deepEqual([found?.checkpoint.step, found?.vector[0], reports], [10, 10, [20]]);
      await rejects(readParameters(store, newer));
    }
  });
}

test("a manifest that differs from the committed one is damage", async (t) => {
  const { root, store } = await storeOf(t);
  const saved = await save(store, 10);
  await writeFile(join(root, manifestOf(saved)), " ", { flag: "a" });
  await rejects(readCheckpoint(store, saved), { code: "checkpoint-damaged" });
});

test("parts that are whole but not the named weights are damage", async (t) => {
  const { store } = await storeOf(t);
  const saved = await save(store, 10);
  const manifest = JSON.parse(new TextDecoder().decode(await store.read(manifestOf(saved))));
  const other = { ...manifest, weightsSha256: "0".repeat(64) };
  const text = new TextEncoder().encode(JSON.stringify(other));
  const sha256 = sha256Of(text);
  await store.write(manifestOf({ ...saved, sha256 }), [text]);
  await rejects(readCheckpoint(store, { ...saved, sha256 }), { code: "checkpoint-damaged" });
});

test("no checkpoint left whole: the job starts anew; a store that is away is no such reason", async (t) => {
  const { store } = await storeOf(t);
  const saved = await save(store, 10);
  await store.remove(storePaths.part("j", 10, 1, 0, 3));
  equal(await latestWholeCheckpoint(store, [saved], () => undefined), undefined);
  equal(await latestWholeCheckpoint(store, [], () => undefined), undefined);
  const away: Store = {
    ...store,
    read: () => Promise.reject(Object.assign(new Error("EIO"), { code: "EIO", syscall: "read" })),
  };
  await rejects(latestWholeCheckpoint(away, [saved], () => undefined));
});
