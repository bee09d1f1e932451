import { deepEqual, equal } from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import type { MembershipRecord } from "@coxswain/bus";
import type { Job, JobCheckpoint } from "@coxswain/domain";
import { manifestOf, openStore, type Store, sha256Of, storePaths } from "@coxswain/store";
import { verdictTimeoutMs } from "../decide/verdict-patience.ts";
import { enterGroup, type JoinPorts } from "./join.ts";

const parameterFloats = 32;

async function emptyStore(t: TestContext): Promise<Store> {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-join-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  return openStore(pathToFileURL(folder).href);
}

/** A checkpoint of this step, as the checkpoint service leaves it. */
async function commit(store: Store, step: number): Promise<JobCheckpoint> {
  const bytes = new Uint8Array(new Float32Array(parameterFloats).fill(step).buffer);
  const path = storePaths.part("j", step, 1, 0, 1);
  const written = await store.write(path, [bytes]);
  const weightsSha256 = sha256Of(bytes);
  const facts = { step, parameterFloats, slotCount: 0, weightsSha256, programHash: "h" };
  const manifest = { version: 1, ...facts, parts: [{ path, ...written }] };
  const text = new TextEncoder().encode(JSON.stringify(manifest));
  const at = { path: storePaths.checkpoint("j", step), sha256: sha256Of(text) };
  await store.write(manifestOf(at), [text]);
  return { ...at, step, generation: 1, bytes: 128, weightsSha256, final: false, committedAtMs: 0 };
}

const told = { step: 8, generation: 1, parts: 1, told: [0] };

/**
 * Founds a job's group on a clock that goes by waiting alone. At `lookAtMs` the log tells more of the
 * job. Returns where the group begins, and when.
 */
async function found(store: Store, job: Partial<Job>, lookAtMs: number, later: Partial<Job>) {
  const stop = new AbortController();
  let nowMs = 0;
  const loaded: number[] = [];
  let isFounded = false;
  const base = { id: "j", spec: { shards: 4 }, generation: 1, checkpoints: [], batches: [] };
  const ports = {
    me: { workerId: "w", nodeId: "n", address: "a" },
    ...{ store, signal: stop.signal, steps: 100, knownDead: () => new Set(["gone"]) },
    job: () => ({ ...base, ...job, ...(nowMs >= lookAtMs && later) }) as unknown as Job,
    record: {
      get: async () => ({ revision: 1, value: { generation: 1, members: [{ workerId: "gone" }] } }),
      update: async (_: string, { fromStep }: MembershipRecord) => void loaded.push(fromStep),
    },
    compute: {
      initialize: async () => void loaded.push(0),
      load: async (_: number, vector: Float32Array) => void loaded.push(vector[0]!),
    },
    compiled: { hash: "h" },
    transfer: { holdsState: false, forgetState: () => undefined },
    membership: {
      startAt: () => undefined,
      adopt: () => {
        isFounded = true;
      },
      get state() {
        return isFounded ? "member" : "joining";
      },
    },
    clock: {
      nowMs: () => nowMs,
      delay: async (ms: number) => {
        nowMs += ms;
        if (nowMs > 2 * verdictTimeoutMs) stop.abort();
      },
    },
    ledger: { generations: [] },
    onPassedOver: () => undefined,
  };
  await enterGroup(ports as unknown as JoinPorts);
  equal(isFounded, true);
  return { loaded, atMs: nowMs };
}

test("who goes on where all others left waits until their last checkpoint is committed", async (t) => {
  const store = await emptyStore(t);
  const [four, eight] = [await commit(store, 4), await commit(store, 8)];
  const committed = { checkpoints: [four, eight], unjudged: [] };
  const job = { checkpoints: [four], unjudged: [told] };
  deepEqual(await found(store, job, 1000, committed), { loaded: [8, 8], atMs: 1000 });
});

test("a checkpoint that is rejected, or that is not whole, is not waited for", async (t) => {
  const store = await emptyStore(t);
  const checkpoints = [await commit(store, 4)];
  const rejected = { checkpoints, unjudged: [] };
  deepEqual(await found(store, { checkpoints, unjudged: [told] }, 1000, rejected), {
    ...{ loaded: [4, 4], atMs: 1000 },
  });
  const parted = { checkpoints, unjudged: [{ ...told, parts: 2 }] };
  deepEqual(await found(store, parted, 1000, {}), { loaded: [4, 4], atMs: 0 });
});

test("without a verdict it begins at the one before, after a while", async (t) => {
  const store = await emptyStore(t);
  const job = { checkpoints: [await commit(store, 4)], unjudged: [told] };
  deepEqual(await found(store, job, 1000, {}), { loaded: [4, 4], atMs: verdictTimeoutMs });
});
