import { rejects } from "node:assert/strict";
import { test } from "node:test";
import { type Bus, systemClock } from "@coxswain/bus";
import type { JobId } from "@coxswain/domain";
import { Ledger } from "./ledger.ts";

test("who ends before the log tells of a step does not take it for told", async () => {
  const append = () => new Promise<never>(() => undefined);
  const ledger = new Ledger({
    ...{ bus: { clock: systemClock, append } as unknown as Bus, jobId: "j-1" as JobId, steps: 10 },
    pace: () => ({ epoch: 0, samplesPerSecond: 0, stepMs: 0, metrics: {}, inputStallShare: 0 }),
    onError: () => undefined,
  });
  const told = rejects(ledger.toldUpTo(4), { code: "stale-generation" });
  ledger.stop();
  await told;
});
