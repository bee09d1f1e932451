import { deepEqual, equal, match } from "node:assert/strict";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import type { AppError } from "@coxswain/domain";
import { ServiceChild } from "./child.ts";

const ready = `process.send({ kind: "ready" });`;

/** A service whose program this is, until it is given up. `lifeMs`: how long each life takes. */
async function livesOf(t: TestContext, program: string, lifeMs: (life: number) => number) {
  const folder = await mkdtemp(join(tmpdir(), "coxswain-child-"));
  t.after(() => rm(folder, { recursive: true, force: true }));
  const entry = join(folder, "service.mjs");
  await writeFile(entry, program);
  const givenUp = Promise.withResolvers<AppError>();
  const ends: string[] = [];
  let nowMs = 0;
  const child = new ServiceChild(
    { name: "scheduler", entry, environment: {} },
    folder,
    { onExit: (_, how) => void ends.push(how), onGivenUp: givenUp.resolve },
    // Asked when a life begins and when it ends.
    {
      restartDelayMs: 0,
      nowMs: () => {
        const asked = nowMs;
        nowMs += lifeMs(ends.length);
        return asked;
      },
    },
  );
  t.after(() => child.stop());
  await child.start().catch(() => undefined);
  return { error: await givenUp.promise, ends, folder };
}

test("a service that dies again and again is given up, with its name, its last error and its log", async (t) => {
  const program = `${ready} process.on("exit", () => console.error("bye")); throw new TypeError("no such luck");`;
  const { error, ends, folder } = await livesOf(t, program, () => 10);
  deepEqual(ends, Array(20).fill("code 1"));
  equal(
    error.message,
    `[service-down] scheduler ended 21 times in a row, each time within 60 s; the last time with code 1: TypeError: no such luck; its log is ${folder}/scheduler.log`,
  );
  match(error.fix, /Read the log .* `cox up`/);
});

test("what it says itself of its end counts; killed in silence, that is said", async (t) => {
  const says = `process.send({ kind: "failed", message: "the port is taken" }, () => process.exit(3));`;
  match(
    (await livesOf(t, says, () => 10)).error.message,
    /with code 3: the port is taken; its log/,
  );
  const killed = `process.kill(process.pid, "SIGKILL");`;
  match(
    (await livesOf(t, killed, () => 10)).error.message,
    /with SIGKILL: it said nothing; its log/,
  );
});

test("a life that was long enough begins the count anew", async (t) => {
  const isLong = (life: number) => (life === 5 ? 60_000 : 10);
  const { ends } = await livesOf(t, `${ready} process.exit(1);`, isLong);
  equal(ends.length, 6 + 20 - 1);
});
