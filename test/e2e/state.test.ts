/** State that is not trained, through real workers under faults: the same bits, in checkpoints and the model. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { type TestContext, test } from "node:test";
import { readParameters, storePaths } from "@coxswain/store";
import { exportModel } from "../../services/checkpoint/src/export-model.ts";
import { startCluster } from "./worker-cluster.ts";
import { endOf } from "./worker-stories.ts";

const steps = 200;
const spec = { steps, checkpoint: { everySteps: 50, keep: 2 } };

const start = (t: TestContext, isUnhurried: boolean) =>
  startCluster(t, { program: "normed.mjs", spec, isUnhurried });

test("moving averages: workers killed, joined, restored; the bits of one worker", async (t) => {
  const alone = await start(t, false);
  const wanted = await endOf(alone, [alone.start("w0")], steps);

  const cluster = await start(t, true);
  const before = ["wa", "wb", "wc"].map((id) => cluster.start(id));
  await cluster.event("training.progressed", ({ workers }) => workers === 3);
  before[1]!.process.kill("SIGKILL");
  await cluster.event("training.generation-formed", ({ cause }) => cause === "loss");
  await cluster.event("checkpoint.committed");
  for (const worker of before) worker.process.kill("SIGKILL");
  for (const { workerId, ended } of before) {
    await ended;
    await cluster.event("worker.lost", (lost) => lost.workerId === workerId);
  }
  const after = ["wd", "we"].map((id) => cluster.start(id));
  const finished = await endOf(cluster, after, steps);
  equal(finished.weightsSha256, wanted.weightsSha256);
  deepEqual(finished.metrics, wanted.metrics);

  const final = await cluster.event("checkpoint.committed", (one) => one.final);
  const { manifest, parameters } = await readParameters(cluster.store, final);
  const state = manifest.segments.filter(({ trained }) => trained === false);
  deepEqual(
    state.map(({ name }) => name.replace(/^.*\//, "")),
    ["moving_mean", "moving_variance"],
  );
  for (const { offset, size } of state) {
    const values = parameters.subarray(offset, offset + size);
    ok(
      values.every((value) => value !== 0 && value !== 1),
      "they have moved",
    );
  }
  const { files } = await exportModel(cluster.store, "exported", { ...final, committedAtMs: 0 });
  const model = await cluster.store.read(`${storePaths.model("exported")}/model.json`);
  const text = new TextDecoder().decode(model);
  for (const { name } of state) ok(text.includes(`"${name}"`), `the model has ${name}`);
  const floats = manifest.segments.reduce((sum, { size }) => sum + size, 0);
  equal(files.find(({ name }) => name === "weights.bin")?.bytes, floats * 4);
});
