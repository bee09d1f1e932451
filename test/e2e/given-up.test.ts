/** `cox up` when one of its services dies again and again. */
import { equal, match } from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { readPlatformFile } from "@coxswain/embedded";

const main = resolve(import.meta.dirname, "../../libs/cli/src/main.ts");

/** Loaded into every process: the autoscaler dies as soon as it has said that it is ready. */
const preload = `if (process.argv[1]?.endsWith("services/autoscaler/src/main.ts")) {
  const send = process.send.bind(process);
  process.send = (message) => send(message, () => { throw new RangeError("no such luck"); });
}`;

test("a service that cannot be kept running: the platform ends, with the reason and an exit code", async (t) => {
  const dataDir = await mkdtemp(join(tmpdir(), "coxswain-given-up-"));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  const up = spawn(process.execPath, [main, "up", "--data", dataDir], {
    stdio: ["ignore", "pipe", "pipe"],
    env: {
      ...process.env,
      NO_COLOR: "1",
      NODE_OPTIONS: `--import=data:text/javascript,${encodeURIComponent(preload)}`,
    },
  });
  t.after(() => up.kill("SIGKILL"));
  let said = "";
  for (const stream of [up.stdout, up.stderr])
    stream.on("data", (chunk: Buffer) => {
      said += chunk.toString();
    });
  const [exitCode, signal] = await once(up, "exit");
  equal(exitCode, 1, `${signal} ${said}`);
  match(said, /up at http/);
  const [error, fix] = said.trim().split("\n").slice(-2) as [string, string];
  match(
    error,
    /^service-down: autoscaler ended 21 times in a row, .* with code 1: RangeError: no such luck; its log is .*autoscaler\.log$/,
  );
  match(fix, /^Read the log that is named, mend the cause, and start the platform again/);
  equal(await readPlatformFile(dataDir), undefined);
});
