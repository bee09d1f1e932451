import { equal, rejects } from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { ensureNatsServer } from "./ensure-nats-server.ts";

/** A program that says it is a nats-server of this version. */
async function claiming(t: TestContext, version: string): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-nats-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const path = join(folder, "nats-server");
  await writeFile(path, `#!/bin/sh\necho "nats-server: v${version}"\n`, { mode: 0o755 });
  return path;
}

test("a server that the user names is taken, when it is new enough", async (t) => {
  const path = await claiming(t, "2.10.0");
  const found = await ensureNatsServer({ environment: { NATS_SERVER_BIN: path } });
  equal(found.version, "2.10.0");
  equal(found.origin, "environment");
});

test("a server that the user names and that is too old, or none, is refused in words", async (t) => {
  const old = { NATS_SERVER_BIN: await claiming(t, "2.9.10") };
  await rejects(ensureNatsServer({ environment: old }), /bus-too-old.*2\.9\.10/);
  const none = { NATS_SERVER_BIN: "/nowhere/nats-server" };
  await rejects(ensureNatsServer({ environment: none }), /\/nowhere\/nats-server does not run/);
});
