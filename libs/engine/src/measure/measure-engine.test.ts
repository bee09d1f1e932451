import { deepEqual, ok, rejects } from "node:assert/strict";
import { mkdir, mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { removeNative } from "../install-native.ts";
import { nativePlace } from "../native-place.ts";
import { measureEngine } from "./measure-engine.ts";

const orders = { cacheDir: tmpdir(), seconds: 0.05, batchSize: 16 };

test("an engine is measured in a process of its own", async () => {
  const speed = await measureEngine({ ...orders, engine: "wasm" }, process.env);
  ok(speed.samplesPerSecond > 0, JSON.stringify(speed));
  deepEqual(speed.mode, "eager");
});

test("an engine that does not open is an error, not a speed", async () => {
  await rejects(measureEngine({ ...orders, engine: "abacus" }, process.env), {
    code: "engine-unavailable",
  });
});

test("removing what is there says so, and leaves nothing", async (t) => {
  const cacheDir = await mkdtemp(join(tmpdir(), "coxswain-engine-"));
  t.after(() => rm(cacheDir, { recursive: true }));
  const { tensorflow } = await nativePlace(cacheDir);
  await mkdir(tensorflow, { recursive: true });
  deepEqual([await removeNative(cacheDir), await removeNative(cacheDir)], [true, false]);
});
