import { equal } from "node:assert/strict";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { ensureNatsServer } from "./ensure-nats-server.ts";
import { startNatsServer } from "./nats-server.ts";

test("a free port that somebody else takes first is chosen anew", async (t) => {
  const { path } = await ensureNatsServer({ environment: process.env });
  const folder = await mkdtemp(join(tmpdir(), "coxswain-port-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const tries = join(folder, "tries");
  const binary = join(folder, "nats-server");
  // The first two times it meets a taken port; called with: -c CONFIG -l LOG.
  await writeFile(
    binary,
    `#!/bin/sh\necho try >> ${tries}\nif [ "$(wc -l < ${tries})" -lt 3 ]; then echo "bind: address already in use" > "$4"; exit 1; fi\nexec ${path} "$@"\n`,
    { mode: 0o755 },
  );
  const server = await startNatsServer({ binary, dataDir: join(folder, "data") });
  await server.stop();
  equal((await readFile(tries, "utf8")).length, "try\n".length * 3);
});
