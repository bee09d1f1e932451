/** The compiled program is made once for a job and shipped; runs where the native engine is installed. */
import { deepEqual, equal, match, notEqual } from "node:assert/strict";
import { test } from "node:test";
import type { EngineSpec } from "@coxswain/domain";
import { availableEngines } from "@coxswain/engine";
import { startCluster } from "./worker-cluster.ts";

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
const available = await availableEngines({ cacheDir });
const isInstalled = available.some(({ name }) => name === "native");
const skip = isInstalled ? false : "the native engine is not installed";
const options = { engine: "native", program: "built-once.mjs", placed: ["w1", "w2"] } as const;

test("who joins later runs what the first worker compiled, and builds no model", {
  skip,
}, async (t) => {
  const cluster = await startCluster(t, { ...options, isUnhurried: true });
  cluster.start("w1");
  const compiled = await cluster.event("worker.compiled");
  deepEqual([compiled.mode, compiled.workerId], ["recorded", "w1"]);
  notEqual(await cluster.bus.getBundle(compiled.data!.sha256), undefined);
  await cluster.event("training.progressed");
  const second = cluster.start("w2");
  await cluster.event("training.generation-formed", ({ members }) => members.length === 2);
  await cluster.release();
  await cluster.event("training.finished");
  equal(await second.ended, 0);
});

test("of those who start together the first one placed compiles, the others wait for it", {
  skip,
}, async (t) => {
  const cluster = await startCluster(t, options);
  const second = cluster.start("w2");
  const first = cluster.start("w1");
  equal((await cluster.event("worker.compiled")).workerId, "w1");
  await cluster.event("training.finished");
  deepEqual(await Promise.all([first.ended, second.ended]), [0, 0]);
});

test("who starts the job without having compiled it makes the initial weights all the same", {
  skip,
}, async (t) => {
  const hashOf = async (workers: readonly string[]) => {
    const cluster = await startCluster(t, { engine: "native", placed: workers });
    for (const [index, workerId] of workers.entries()) {
      const worker = cluster.start(workerId);
      await cluster.event("worker.compiled");
      // The first one is gone before anything is trained that could be restored.
      if (index + 1 < workers.length) worker.process.kill("SIGKILL");
      await (index + 1 < workers.length ? worker.ended : undefined);
    }
    return (await cluster.event("training.finished")).weightsSha256;
  };
  equal(await hashOf(["w1", "w2"]), await hashOf(["w3"]));
});

test("whose program differs from the job's does not join, and says both hashes", {
  skip,
}, async (t) => {
  const cluster = await startCluster(t, options);
  const payload = { workerId: "w0", programHash: "1".repeat(64), engine: "x", mode: "eager" };
  await cluster.append({
    name: "worker.compiled",
    id: "foreign",
    source: "trainer",
    payload,
  } as never);
  const worker = cluster.start("w1");
  equal(await worker.ended, 10);
  const { error } = worker.exit();
  equal(error?.code, "engine-mismatch");
  match(error!.message, /job runs program 111111111111, operator by operator; this worker has/);
});

test("what cannot be recorded says which operator and which line of the program", {
  skip,
}, async (t) => {
  const cluster = await startCluster(t, options);
  cluster.start("w1", { COXSWAIN_TEST_READ_BACK: "1" });
  const compiled = await cluster.event("worker.compiled");
  equal(compiled.mode, "eager");
  match(compiled.reason ?? "", /reads values back .*, after operator Sum at built-once\.mjs:13$/);
  await cluster.event("training.finished");
});

test("held to a level of instructions, workers say so and compute what that level computes", {
  skip: available.some(({ isa }) => isa === "avx2") ? false : "this processor has no AVX2",
}, async (t) => {
  const trained = async (engine: EngineSpec) => {
    const cluster = await startCluster(t, { engine, placed: ["w1"] });
    const worker = cluster.start("w1");
    const { engine: identity } = await cluster.event("worker.compiled");
    const { weightsSha256 } = await cluster.event("training.finished");
    await worker.ended;
    return { identity, weightsSha256 };
  };
  const [held, free] = [await trained({ name: "native", isa: "avx2" }), await trained("native")];
  match(held.identity, / isa-avx2 /);
  match(free.identity, / cpu-/);
  const isNewer = available.some(({ isa }) => isa === "avx512");
  if (isNewer) notEqual(held.weightsSha256, free.weightsSha256);
  else equal(held.weightsSha256, free.weightsSha256);
});

test("with XLA each worker compiles for itself, one and two workers end with the same bits", {
  skip,
}, async (t) => {
  const trained = async (workers: readonly string[]) => {
    const cluster = await startCluster(t, {
      engine: { name: "native", xla: true },
      placed: workers,
    });
    const started = workers.map((workerId) => cluster.start(workerId));
    const { engine: identity, mode, xlaSeconds } = await cluster.event("worker.compiled");
    match(identity, / xla /);
    deepEqual([mode, xlaSeconds! > 0], ["recorded", true]);
    const { weightsSha256 } = await cluster.event("training.finished");
    deepEqual(
      await Promise.all(started.map(({ ended }) => ended)),
      workers.map(() => 0),
    );
    return weightsSha256;
  };
  equal(await trained(["w1"]), await trained(["w1", "w2"]));
});
