import { deepEqual, equal, match, ok, rejects } from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { AppError, type JobId } from "@coxswain/domain";
import { exampleJob } from "@coxswain/domain/testing";
import { startTestBus, type TestBus } from "@coxswain/embedded/testing";
import type { EventName, NewEvent, PayloadOf } from "@coxswain/events";
import {
  type CheckpointFacts,
  openFolderStore,
  partRange,
  readCheckpoint,
  type Store,
  sha256Of,
  storePaths,
} from "@coxswain/store";
import { type Ports, runCheckpoints } from "./service.ts";

const jobId = "digits-1" as JobId;
const parameterFloats = 32;
const steps = 100;

interface World {
  readonly bus: TestBus["bus"];
  readonly folder: string;
  readonly store: Store;
  say(name: EventName, payload: object, ofJob?: string): Promise<number>;
  /** Writes the parts of a checkpoint and tells of them, as workers do. */
  write(step: number, options?: WriteOptions): Promise<void>;
  finish(): Promise<number>;
  /** Resolves with the `count`-th event of this name. */
  heard<Name extends EventName>(name: Name, count?: number): Promise<PayloadOf<Name>>;
  all<Name extends EventName>(name: Name): Promise<PayloadOf<Name>[]>;
  start(ports?: Partial<Ports>): { stop(): Promise<void>; done: Promise<void> };
}

interface WriteOptions {
  readonly generation?: number;
  readonly parts?: number;
  readonly facts?: Partial<CheckpointFacts>;
  /** These parts are told of, all by default. */
  readonly only?: readonly number[];
  /** The second part is not written: it lies there. */
  readonly lent?: string;
}

async function startWorld(t: TestContext, keep = 2): Promise<World> {
  const { bus, dataDir } = await startTestBus(t);
  const folder = join(dataDir, "store");
  const store = openFolderStore(folder);
  let said = 0;
  const say: World["say"] = async (name, payload, ofJob = jobId) => {
    said += 1;
    const event = {
      name,
      jobId: ofJob,
      id: `said-${said}`,
      source: "trainer",
      payload,
    } as NewEvent;
    return (await bus.append(event)).sequence;
  };
  const job = {
    apiVersion: "coxswain.dev/v1",
    kind: "TrainingJob",
    metadata: { name: "digits" },
    spec: {
      program: `sha256:${"0".repeat(64)}`,
      data: "made-up",
      steps,
      batchSize: 8,
      workers: { min: 1, max: 2 },
      shards: 8,
      seed: 1,
      resources: { cpu: 1, memory: 64, gpu: 0 },
      priority: 0,
      queue: "default",
      checkpoint: { everySteps: 10, keep },
      exchange: "exact",
      stepTimeout: 60,
      engine: "wasm",
      parameters: {},
    },
  };
  await say("job.submitted", { job });
  const all: World["all"] = async (name) => {
    const found: unknown[] = [];
    for await (const item of bus.follow({ jobId, names: [name] })) {
      if (item.kind === "caught-up") return found as never;
      found.push(item.event.payload);
    }
    return [];
  };
  return {
    bus,
    folder,
    store,
    say,
    all,
    write: (step, options) => writeParts(store, say, step, options),
    finish: () =>
      say("training.finished", {
        generation: 1,
        step: steps,
        weightsSha256: sha256Of(parametersOf(steps)),
        metrics: {},
      }),
    heard: async (name, count = 1) => {
      let missing = count;
      for await (const item of bus.follow({ jobId, names: [name] })) {
        if (item.kind === "event") missing -= 1;
        if (item.kind === "event" && missing === 0) return item.event.payload as never;
      }
      throw new Error("the log ended");
    },
    start: (ports = {}) => {
      const stop = new AbortController();
      const done = runCheckpoints({
        bus,
        store,
        signal: stop.signal,
        log: () => undefined,
        ...ports,
      });
      done.catch(() => undefined);
      t.after(() => stop.abort());
      return {
        done,
        stop: async () => {
          stop.abort();
          await done;
        },
      };
    },
  };
}

function vectorOf(step: number): Float32Array {
  return Float32Array.from({ length: parameterFloats * 2 }, (_, i) => step + i);
}

function parametersOf(step: number): Uint8Array {
  return new Uint8Array(vectorOf(step).buffer, 0, parameterFloats * 4);
}

function factsOf(step: number, generation: number): CheckpointFacts {
  return {
    step,
    steps,
    generation,
    seed: 1,
    engine: "wasm",
    programHash: "p",
    shards: 8,
    batchSize: 8,
    parameterFloats,
    slotCount: 1,
    segments: [
      { name: "w", shape: [2, 3], offset: 0, size: 6 },
      { name: "b", shape: [3], offset: 16, size: 3 },
    ],
    weightsSha256: sha256Of(parametersOf(step)),
    final: step === steps,
  };
}

async function writeParts(
  store: Store,
  say: World["say"],
  step: number,
  options: WriteOptions = {},
) {
  const { generation = 1, parts = 2, facts = {} } = options;
  const bytes = new Uint8Array(vectorOf(step).buffer);
  for (const part of options.only ?? Array.from({ length: parts }, (_, index) => index)) {
    const { from, to } = partRange(bytes.length / 4, part, parts);
    const isReused = part === 1 && options.lent !== undefined;
    const path = isReused ? options.lent : storePaths.part(jobId, step, generation, part, parts);
    const content = isReused ? new Uint8Array(vectorOf(10).buffer) : bytes;
    const written = isReused
      ? { bytes: (to - from) * 4, sha256: sha256Of(content.subarray(from * 4, to * 4)) }
      : await store.write(path!, [content.subarray(from * 4, to * 4)]);
    const manifest = { ...factsOf(step, generation), ...facts };
    await say("checkpoint.written", {
      step,
      generation,
      part,
      parts,
      path,
      ...written,
      workerId: `w${part}`,
      isReused,
      manifest,
    });
  }
}

test("parts become a checkpoint that reads back whole", async (t) => {
  const world = await startWorld(t);
  const service = world.start();
  await world.write(10, { only: [1] });
  await world.write(10, { only: [0] });
  const committed = await world.heard("checkpoint.committed");
  const { manifest, vector } = await readCheckpoint(world.store, committed);
  deepEqual(vector, vectorOf(10));
  deepEqual(
    [committed.step, committed.bytes, committed.final, manifest.parts.length],
    [10, vector.byteLength, false, 2],
  );
  equal(committed.weightsSha256, sha256Of(parametersOf(10)));
  await service.stop();
  equal((await world.all("checkpoint.committed")).length, 1);
});

test("a damaged part rejects the checkpoint; written again it is committed", async (t) => {
  const world = await startWorld(t);
  await world.write(10, { only: [0] });
  await writeFile(join(world.folder, storePaths.part(jobId, 10, 1, 0, 2)), "rot");
  await world.write(10, { only: [1] });
  const service = world.start();
  const { step, reason } = await world.heard("checkpoint.rejected");
  equal(step, 10);
  match(reason, /g1-0-of-2\.bin: 3 bytes instead of 128/);
  await world.write(10);
  equal((await world.heard("checkpoint.committed")).step, 10);
  await service.stop();
});

test("a missing part, foreign facts and wrong hashes each reject with their reason", async (t) => {
  const world = await startWorld(t);
  const service = world.start();
  await world.write(10, { only: [0] });
  await world.store.remove(storePaths.part(jobId, 10, 1, 0, 2));
  await world.write(10, { only: [1] });
  await world.write(20, { facts: { parameterFloats: -1 } });
  await world.write(30, { facts: { weightsSha256: "f".repeat(64) } });
  await world.heard("checkpoint.rejected", 3);
  await service.stop();
  const reasons = (await world.all("checkpoint.rejected")).map(({ reason }) => reason);
  match(reasons[0]!, /not in the store/);
  match(reasons[1]!, /parameterFloats/);
  match(reasons[2]!, /not the one that the trainer named/);
});

test("only the newest are kept; older parts and pruned files go from the disk", async (t) => {
  const world = await startWorld(t);
  const service = world.start();
  await world.write(5, { only: [0] });
  for (const step of [10, 20, 30]) await world.write(step);
  deepEqual((await world.heard("checkpoint.pruned")).steps, [10]);
  await world.write(40);
  deepEqual((await world.heard("checkpoint.pruned", 2)).steps, [20]);
  await world.write(50);
  await world.heard("checkpoint.pruned", 3);
  await world.write(60, { only: [0] });
  await world.write(70);
  await world.heard("checkpoint.pruned", 4);
  await service.stop();
  const folders = (await world.store.list(storePaths.checkpoints(jobId))).map(
    ({ path }) => path.split("/")[3],
  );
  // The service stopped in the middle of the last tidying or after it.
  ok([...new Set(folders)].map(Number).filter((step) => step < 50).length === 0, folders.join());
});

test("a checkpoint that another job names stays until that one has its own, or ends", async (t) => {
  const world = await startWorld(t, 1);
  const service = world.start();
  const begun = (step: number) => ({
    job: exampleJob("b", { steps, workers: { min: 1, max: 1 }, from: { job: jobId, step } }),
  });
  await world.write(10);
  await world.heard("checkpoint.committed");
  await world.say("job.submitted", begun(10), "begun-1");
  for (const step of [20, 30]) await world.write(step);
  deepEqual((await world.heard("checkpoint.pruned")).steps, [20]);
  const { path, sha256 } = await world.heard("checkpoint.committed");
  deepEqual((await readCheckpoint(world.store, { path, sha256 })).vector, vectorOf(10));
  await world.say("job.cancelled", { epoch: 1 }, "begun-1");
  await world.write(40);
  // The released one goes with the next one, or a little before it.
  const pruned = async () =>
    (await world.all("checkpoint.pruned")).flatMap(({ steps: gone }) => gone);
  while (!(await pruned()).includes(30)) await new Promise(setImmediate);
  deepEqual((await pruned()).sort(), [10, 20, 30]);
  await service.stop();
});

test("a part that did not change is borrowed, and stays as long as somebody borrows it", async (t) => {
  const world = await startWorld(t, 1);
  const service = world.start();
  await world.write(10);
  await world.heard("checkpoint.committed");
  const lent = storePaths.part(jobId, 10, 1, 1, 2);
  await world.write(20, { lent });
  await world.heard("checkpoint.pruned");
  await world.write(30, { lent });
  await world.heard("checkpoint.pruned", 2);
  const committed = await world.heard("checkpoint.committed", 3);
  deepEqual([committed.step, committed.borrowed], [30, [lent]]);
  const { vector } = await readCheckpoint(world.store, committed);
  deepEqual([vector[0], vector.at(-1)], [30, vectorOf(10).at(-1)]);
  await world.write(40);
  await world.heard("checkpoint.pruned", 3);
  await service.stop();
  equal((await world.store.list(storePaths.checkpoint(jobId, 10))).length, 0);
  equal((await world.all("checkpoint.rejected")).length, 0);
});

test("a part that shall have been borrowed from elsewhere is refused", async (t) => {
  const world = await startWorld(t);
  const service = world.start();
  await world.write(10, { lent: storePaths.part("other-1", 10, 1, 1, 2) });
  match((await world.heard("checkpoint.rejected")).reason, /wrong place/);
  await service.stop();
});

/** Throws a bug's error at the first call for which `isIt`, before or after the call was done. */
function dieOnce<Args extends unknown[], Result>(
  act: (...args: Args) => Promise<Result>,
  isIt: (...args: Args) => boolean,
  when: "before" | "after",
) {
  let isDead = false;
  return async (...args: Args): Promise<Result> => {
    if (isDead || !isIt(...args)) return await act(...args);
    isDead = true;
    if (when === "after") await act(...args);
    throw new Error("killed");
  };
}

const isManifest = (path: string) => path.includes("/manifest-");
const isModel = (path: string) => path.endsWith("model.safetensors");
const says = (name: EventName) => (event: NewEvent) => event.name === name;

const deaths: Record<string, (world: World) => Partial<Ports>> = {
  "before the manifest": ({ store }) => ({
    store: { ...store, write: dieOnce(store.write, isManifest, "before") },
  }),
  "between the manifest and the commit": ({ store }) => ({
    store: { ...store, write: dieOnce(store.write, isManifest, "after") },
  }),
  "before the commit is stored": ({ bus }) => ({
    bus: dyingBus(bus, "checkpoint.committed", "before"),
  }),
  "after the commit is stored": ({ bus }) => ({
    bus: dyingBus(bus, "checkpoint.committed", "after"),
  }),
  "in the middle of the export": ({ store }) => ({
    store: { ...store, write: dieOnce(store.write, isModel, "after") },
  }),
  "before the model is told": ({ bus }) => ({ bus: dyingBus(bus, "model.exported", "before") }),
  "after the model is told": ({ bus }) => ({ bus: dyingBus(bus, "model.exported", "after") }),
};

function dyingBus(bus: World["bus"], name: EventName, when: "before" | "after"): Ports["bus"] {
  return {
    clock: bus.clock,
    consume: (...args) => bus.consume(...args),
    follow: (options) => bus.follow(options),
    append: dieOnce((event: NewEvent) => bus.append(event), says(name), when),
  };
}

for (const [name, portsOf] of Object.entries(deaths)) {
  test(`killed ${name}, it goes on to one checkpoint and one model`, async (t) => {
    const world = await startWorld(t);
    const first = world.start(portsOf(world));
    await world.write(steps);
    await world.finish();
    await rejects(first.done, /killed/);
    const second = world.start();
    const { files } = await world.heard("model.exported");
    await second.stop();
    equal((await world.all("checkpoint.committed")).length, 1);
    equal((await world.all("checkpoint.rejected")).length, 0);
    equal((await world.all("model.exported")).length, 1);
    for (const { name: file, sha256 } of files)
      equal(sha256Of(await world.store.read(`${storePaths.model(jobId)}/${file}`)), sha256);
  });
}

test("a full disk holds a checkpoint up, and it is committed once there is room", async (t) => {
  const world = await startWorld(t);
  let fails = 2;
  const write: Store["write"] = async (path, chunks) => {
    fails -= 1;
    if (fails >= 0) throw new AppError("store-full", `no room for ${path}`);
    return await world.store.write(path, chunks);
  };
  const service = world.start({ store: { ...world.store, write } });
  await world.write(10);
  equal((await world.heard("checkpoint.committed")).step, 10);
  await service.stop();
  equal((await world.all("checkpoint.rejected")).length, 0);
});

test("the end may be told before its checkpoint is committed", async (t) => {
  const world = await startWorld(t);
  const service = world.start();
  await world.finish();
  await world.write(steps);
  const { format, weightsSha256 } = await world.heard("model.exported");
  deepEqual([format, weightsSha256], ["safetensors", sha256Of(parametersOf(steps))]);
  await service.stop();
});

test("a final checkpoint that rots before the export is told as the job's export error", async (t) => {
  const world = await startWorld(t);
  const service = world.start();
  await world.write(steps);
  await world.heard("checkpoint.committed");
  await writeFile(join(world.folder, storePaths.part(jobId, steps, 1, 1, 2)), "rot");
  await world.finish();
  match((await world.heard("model.export-failed")).reason, /checkpoint-damaged/);
  await service.stop();
});

test("two of the service share the work and say nothing twice", async (t) => {
  const world = await startWorld(t, 100);
  const services = [world.start(), world.start()];
  const wanted = [10, 20, 30, 40, 50];
  for (const step of wanted) await world.write(step);
  await world.heard("checkpoint.committed", wanted.length);
  for (const service of services) await service.stop();
  const committed = (await world.all("checkpoint.committed")) as { readonly step: number }[];
  deepEqual(committed.map(({ step }) => step).sort(), wanted);
});
