/** Checkpoints over HTTP: listed, verified, downloaded. */
import { deepEqual, equal } from "node:assert/strict";
import { readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { JobId } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { type CheckpointPart, partRange, sha256Of, storePaths } from "@coxswain/store";
import { startTestApp } from "./testing.ts";

const id = "j-1" as JobId;
const floats = 64;

/** A job with one committed checkpoint, of step 5, in two parts. */
async function start(t: TestContext) {
  const { app, api, bus, store, folder } = await startTestApp(t);
  const vector = new Uint8Array(Float32Array.from({ length: floats }, (_, i) => i).buffer);
  const parts: CheckpointPart[] = [];
  for (const part of [0, 1]) {
    const { from, to } = partRange(floats, part, 2);
    const path = storePaths.part(id, 5, 1, part, 2);
    parts.push({ path, ...(await store.write(path, [vector.subarray(from * 4, to * 4)])) });
  }
  const weightsSha256 = sha256Of(vector);
  const manifest = { version: 1, step: 5, parameterFloats: floats, slotCount: 0, weightsSha256 };
  const text = new TextEncoder().encode(JSON.stringify({ ...manifest, parts }));
  const sha256 = sha256Of(text);
  await store.write(storePaths.manifest(id, 5, sha256), [text]);
  const committed = {
    generation: 1,
    step: 5,
    path: storePaths.checkpoint(id, 5),
    bytes: vector.length,
    sha256,
    weightsSha256,
    final: false,
  };
  const job = exampleJob("j", { steps: 10, workers: { min: 1, max: 1 } });
  const say = async (name: string, payload: object) => {
    const event = { name, jobId: id, id: name, source: "trainer", payload };
    const { sequence } = await bus.append(event as never);
    await api.view.reached(sequence, 5000);
  };
  await say("job.submitted", { job });
  await say("checkpoint.committed", committed);
  const verify = async () => {
    const answer = await app.inject({
      method: "POST",
      url: `/v1/jobs/${id}/checkpoints/5/verify`,
    });
    equal(answer.statusCode, 200, answer.body);
    const { state, damaged } = answer.json();
    return [state, damaged];
  };
  const file = (part: number) => join(folder, parts[part]!.path);
  return { app, vector, text, parts, verify, file };
}

test("a whole checkpoint is whole; each part that is wrong or gone is named", async (t) => {
  const { verify, parts, file } = await start(t);
  deepEqual(await verify(), ["whole", []]);
  const bytes = await readFile(file(0));
  await writeFile(file(0), bytes.subarray(4));
  await rm(file(1));
  deepEqual(await verify(), [
    "damaged",
    [
      { path: parts[0]!.path, reason: "124 bytes instead of 128" },
      { path: parts[1]!.path, reason: "it is not in the store" },
    ],
  ]);
  await writeFile(file(1), bytes);
  await writeFile(file(0), bytes);
  deepEqual(await verify(), ["damaged", [{ path: parts[1]!.path, reason: "its hash differs" }]]);
});

test("manifest and parts are downloaded as they lie in the store", async (t) => {
  const { app, text, vector } = await start(t);
  const base = `/v1/jobs/${id}/checkpoints/5`;
  deepEqual((await app.inject(`${base}/manifest`)).rawPayload, Buffer.from(text));
  const got = await Promise.all([0, 1].map((part) => app.inject(`${base}/parts/${part}`)));
  deepEqual(Buffer.concat(got.map(({ rawPayload }) => rawPayload)), Buffer.from(vector));
  const missing = await app.inject(`${base}/parts/2`);
  deepEqual([missing.statusCode, missing.json().code], [404, "checkpoint-not-found"]);
});

test("a step without a checkpoint is told from those that have one", async (t) => {
  const { app } = await start(t);
  const url = `/v1/jobs/${id}/checkpoints/6/verify`;
  const answer = await app.inject({ method: "POST", url });
  equal(answer.statusCode, 404);
  equal(answer.json().detail, `job "${id}" has no checkpoint of step 6; it has 5`);
});
