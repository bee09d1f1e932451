/** Real workers on a real bus of which one is slow, or computes wrong. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { test } from "node:test";
import { startCluster } from "./worker-cluster.ts";
import { endsRight, members } from "./worker-stories.ts";

test("slower than the others for long: named, and its shards are moved; the bits stay", async (t) => {
  const cluster = await startCluster(t, {
    program: "faulty.mjs",
    spec: { steps: 400 },
    isUnhurried: true,
  });
  const environment = { SLOW_AFTER_MS: "1000" };
  const workers = ["wa", "wb", "wc"].map((id) =>
    cluster.start(id, { ...environment, ...(id === "wb" ? { TEST_SHARD_MS: "100" } : {}) }),
  );
  await members(cluster, ["wa", "wb", "wc"]);
  const slowed = await cluster.event("worker.slowed", ({ workerId }) => workerId === "wb");
  ok(slowed.msPerShard > slowed.othersMsPerShard, JSON.stringify(slowed));
  ok(slowed.shardsAfter < slowed.shardsBefore, JSON.stringify(slowed));
  await cluster.event("training.generation-formed", ({ cause, members: all }) => {
    const b = all.find(({ workerId }) => workerId === "wb");
    return cause === "renew" && b !== undefined && b.shardTo - b.shardFrom === slowed.shardsAfter;
  });
  // It may have been seen before the third one joined; nobody is shut out for being slow.
  deepEqual(
    cluster.events.filter(({ name }) => name === "worker.lost"),
    [],
  );
  // The slow one leaves, so that the story ends soon.
  workers[1]!.process.kill("SIGTERM");
  equal(await workers[1]!.ended, 0);
  await endsRight(t, cluster, [workers[0]!, workers[2]!], 400);
});

test("a bit flips on one of three: the audit names the worker", async (t) => {
  const cluster = await startCluster(t, {
    program: "faulty.mjs",
    spec: { steps: 400, audit: { everySteps: 2 } },
    isUnhurried: true,
  });
  for (const id of ["wa", "wb", "wc"]) cluster.start(id, id === "wb" ? { TEST_FLIP: "1" } : {});
  await members(cluster, ["wa", "wb", "wc"]);
  const disagreed = await cluster.event("worker.disagreed", ({ votes }) => votes.length === 3);
  equal(disagreed.workerId, "wb");
  equal(disagreed.step % 2, 0);
  equal(new Set(disagreed.votes.map(({ sha256 }) => sha256)).size, 2);
});

test("a bit flips on one of two: that they differ is told, not who is wrong", async (t) => {
  const cluster = await startCluster(t, {
    program: "faulty.mjs",
    spec: { steps: 400, audit: { everySteps: 2 } },
    isUnhurried: true,
  });
  for (const id of ["wa", "wb"]) cluster.start(id, id === "wb" ? { TEST_FLIP: "1" } : {});
  await members(cluster, ["wa", "wb"]);
  const disagreed = await cluster.event("worker.disagreed");
  equal(disagreed.workerId, undefined);
  match(disagreed.reason, /cannot be known/);
});

test("audits of healthy workers find nothing, and change no bit", async (t) => {
  const cluster = await startCluster(t, { spec: { steps: 60, audit: { everySteps: 1 } } });
  const workers = ["wa", "wb", "wc"].map((id) => cluster.start(id));
  await endsRight(t, cluster, workers, 60);
  deepEqual(
    cluster.events.filter(({ name }) => name === "worker.disagreed"),
    [],
  );
});
