/** Checkpoints as a user meets them: `cox checkpoints`, on a platform of real processes. */
import { deepEqual, equal, match } from "node:assert/strict";
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { auditThroughApi, type FollowedEvent, followEvents, type Json } from "@coxswain/cli";
import { decodeSafetensors } from "@coxswain/model";
import { fixture, startTestPlatform } from "./start-platform.ts";

const root = resolve(import.meta.dirname, "../..");

/** `cox` as a user runs it: its exit code, its JSON, its complaints. */
function cox(apiUrl: string, ...args: string[]) {
  const command = ["libs/cli/src/main.ts", ...args, "--json"];
  const env = { ...process.env, COXSWAIN_API: apiUrl, NO_COLOR: "1" };
  return new Promise<{ exitCode: number; json: Json; stderr: string }>((done) =>
    execFile(process.execPath, command, { cwd: root, env }, (error, stdout, stderr) =>
      done({
        exitCode: Number(error?.code ?? 0),
        json: stdout === "" ? undefined : JSON.parse(stdout),
        stderr,
      }),
    ),
  );
}

/** A job file of the fixture, and what `cox submit` needs besides. */
async function jobFile(dataDir: string, spec: string): Promise<string> {
  const file = join(dataDir, "begun.yaml");
  const rest =
    "workers: {min: 1, max: 1}, shards: 8, engine: wasm, resources: {cpu: 0.5, memory: 512}";
  await writeFile(
    file,
    `apiVersion: coxswain.dev/v1\nkind: TrainingJob\nmetadata: {name: begun}\nspec: {program: ${fixture}, batchSize: 64, ${rest}, ${spec}}\n`,
  );
  return file;
}

const state = ({ step, state: word }: { step: number; state: string }) => `${step} ${word}`;

test("checkpoints are verified and exported; a damaged one is named, with its part", async (t) => {
  const { platform, api, run, dataDir } = await startTestPlatform(t);
  const { id, last } = await run(fixture, []);
  equal(last.name, "job.succeeded");
  const whole = await cox(platform.apiUrl, "checkpoints", id, "--verify");
  deepEqual([whole.exitCode, whole.json.items.map(state)], [0, ["100 whole", "150 whole"]]);

  const folder = join(dataDir, "step-100");
  const exported = await cox(platform.apiUrl, "checkpoints", id, "--export", "100", "-o", folder);
  equal(exported.exitCode, 0, exported.stderr);
  const names = exported.json.files.map(({ name }: { name: string }) => name);
  deepEqual(names, ["model.safetensors", "optimizer.safetensors", "manifest.json"]);
  const read = async (name: string) => decodeSafetensors(await readFile(join(folder, name)));
  const model = await read("model.safetensors");
  const slots = await read("optimizer.safetensors");
  deepEqual(
    slots.tensors.map(({ name, shape }) => [name, shape]),
    model.tensors.map(({ name, shape }) => [`slot0.${name}`, shape]),
  );
  equal(model.metadata["weightsSha256"], whole.json.items[0].weightsSha256);

  const { parts } = await api.get(`/v1/jobs/${id}/checkpoints/100/manifest`);
  const part = join(dataDir, "store", parts[0].path);
  const bytes = await readFile(part);
  bytes[100]! ^= 1;
  await writeFile(part, bytes);
  const damaged = await cox(platform.apiUrl, "checkpoints", id, "--verify");
  deepEqual([damaged.exitCode, damaged.json.items.map(state)], [1, ["100 damaged", "150 whole"]]);
  deepEqual(damaged.json.items[0].damaged, [{ path: parts[0].path, reason: "its hash differs" }]);
  match(damaged.stderr, /1 of 2 checkpoints of e2e-\w+ are damaged: step 100/);
  const refused = await cox(platform.apiUrl, "checkpoints", id, "--export", "100", "-o", folder);
  equal(refused.exitCode, 1);
  match(refused.stderr, /0-of-\d\.bin: its hash differs/);
});

test("a job that begins at another's checkpoint ends with the bits of one that nothing disturbed", async (t) => {
  const { platform, api, run, dataDir } = await startTestPlatform(t);
  const whole = await run(fixture, ["spec.steps=300"]);
  const first = await run(fixture, ["spec.steps=150"]);
  const file = await jobFile(dataDir, "steps: 300");
  const submit = (...args: string[]) => cox(platform.apiUrl, "submit", file, ...args);

  const begun = await submit("--from", `${first.id}@100`);
  equal(begun.exitCode, 0, begun.stderr);
  const events: FollowedEvent[] = [];
  for await (const event of followEvents(api, {
    jobId: begun.json.id,
    follow: true,
    signal: new AbortController().signal,
  })) {
    events.push(event);
    if (["job.succeeded", "job.failed"].includes(event.name)) break;
  }
  equal(events.at(-1)!.name, "job.succeeded", JSON.stringify(events.at(-1)));
  equal(events.at(-1)!.payload.weightsSha256, whole.last.payload.weightsSha256);
  const formed = events.find(({ name }) => name === "training.generation-formed")!;
  deepEqual([formed.payload.fromStep, formed.payload.cause], [100, "restore"]);
  const report = await auditThroughApi(api, begun.json.id);
  deepEqual(
    [report.ok, report.stepsCommitted, report.stepsInherited, report.samplesProof],
    [true, 300, 100, "counted"],
  );

  const refusals: [string[], RegExp][] = [
    [["--from", "nobody@100"], /there is no job "nobody"/],
    [["--from", `${first.id}@7`], /has no checkpoint of step 7; it has 100, 150/],
    [["--from", `${first.id}@150`, "--set", "spec.steps=150"], /Nothing is left to train/],
    [
      ["--from", `${first.id}@100`, "--set", "spec.seed=2"],
      /step 100 stands elsewhere in the data/,
    ],
  ];
  for (const [args, words] of refusals) {
    const { exitCode, stderr } = await submit(...args);
    equal(exitCode, 1);
    match(stderr, words);
  }
});
