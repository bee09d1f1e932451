import { deepEqual, equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { AppError } from "@coxswain/domain";
import { patiently, startPatienceMs } from "./patiently.ts";

const away = () => new AppError("bus-unavailable", "the bundle cannot be read: timeout");

/** Time that passes by waiting alone. */
function ports(signal: AbortSignal = new AbortController().signal) {
  const waits: number[] = [];
  const nowMs = () => waits.reduce((sum, ms) => sum + ms, 0);
  const clock = { nowMs, delay: async (ms: number) => void waits.push(ms) };
  return { clock, signal, log: () => undefined, waits };
}

test("asks again while the bus is away, with pauses that double", async () => {
  const answers = [away(), away(), away(), "here"];
  const asking = ports();
  const answer = await patiently(asking, async () => {
    const next = answers.shift();
    if (next instanceof AppError) throw next;
    return next;
  });
  equal(answer, "here");
  deepEqual(asking.waits, [100, 200, 400]);
});

test("gives up when its time is over, not before", async () => {
  const asking = ports();
  const never = () => Promise.reject(away());
  await rejects(patiently(asking, never), { code: "bus-unavailable" });
  equal(asking.clock.nowMs() <= startPatienceMs, true);
  equal(asking.clock.nowMs() > startPatienceMs - 5000, true);
});

test("other errors, and an answer that nobody wants any more, end it at once", async () => {
  const missing = new AppError("program-not-found", "no such bundle");
  for (const [error, asking] of [
    [missing, ports()],
    [away(), ports(AbortSignal.abort())],
  ] as const) {
    await rejects(
      patiently(asking, () => Promise.reject(error)),
      { code: error.code },
    );
    deepEqual(asking.waits, []);
  }
});
