import { match, rejects } from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { SupervisedNats } from "./supervised-nats.ts";

const binary = process.env["NATS_SERVER_BIN"] ?? "nats-server";

/** A folder on a file system of its own; undefined where none can be mounted. */
async function smallDisk(t: TestContext, mib: number): Promise<string | undefined> {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-disk-"));
  try {
    execFileSync("mount", ["-t", "tmpfs", "-o", `size=${mib}m`, "tmpfs", folder], {
      stdio: "ignore",
    });
  } catch {
    await rm(folder, { recursive: true });
    return undefined;
  }
  t.after(async () => {
    execFileSync("umount", ["--lazy", folder]);
    await rm(folder, { recursive: true });
  });
  return folder;
}

test("a full disk: the log refuses, and takes facts again by itself once there is room", async (t) => {
  const dataDir = await smallDisk(t, 32);
  if (dataDir === undefined) return t.skip("no file system can be mounted here");
  const said: string[] = [];
  const restarted = Promise.withResolvers<void>();
  const nats = new SupervisedNats({
    binary,
    dataDir,
    lookEveryMs: 20,
    onEvent: (sentence) => {
      said.push(sentence);
      if (sentence.includes("started again")) restarted.resolve();
    },
  });
  await nats.start(0);
  t.after(() => nats.stop());
  const connection = await connect({ servers: nats.url, maxReconnectAttempts: -1 });
  t.after(() => connection.close());
  const manager = await jetstreamManager(connection);
  await manager.streams.add({ name: "LOG", subjects: ["fact"] });
  const publish = (bytes: number) => jetstream(connection).publish("fact", new Uint8Array(bytes));

  const ballast = join(dataDir, "ballast");
  await writeFile(ballast, new Uint8Array(30 * 1024 * 1024));
  await rejects(async () => {
    for (let count = 0; count < 64; count += 1) await publish(256 * 1024);
  }, "the disk is full");
  await rm(ballast);
  await rejects(publish(1), "a stream that failed to write stays closed until its server restarts");
  await restarted.promise;
  await publish(1);
});

test("whose port somebody else has taken is started again once it is free", async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), "coxswain-nats-"));
  const other = createServer();
  const said: string[] = [];
  const nats: SupervisedNats = new SupervisedNats({
    ...{ binary, dataDir, againMs: 10 },
    onEvent: (sentence) => {
      said.push(sentence);
      if (sentence.includes("started again")) other.listen(Number(new URL(nats.url).port));
      else other.close();
    },
  });
  t.after(async () => {
    await nats.stop();
    await rm(dataDir, { recursive: true });
  });
  await nats.start(0);
  const connection = await connect({
    ...{ servers: nats.url, maxReconnectAttempts: -1, reconnectTimeWait: 20 },
  });
  t.after(() => connection.close());
  await nats.kill();
  for await (const { type } of connection.status()) if (type === "reconnect") break;
  match(said[1]!, /is taken/);
});
