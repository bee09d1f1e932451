/** The fence between two leaders, on a real nats-server. */
import { deepEqual, rejects } from "node:assert/strict";
import { test } from "node:test";
import { startTestBus } from "@coxswain/embedded/testing";
import { type Decision, noLook } from "@coxswain/scheduling";
import { buildRecorder } from "./recorder.ts";

const decisions: Decision[] = [{ kind: "succeed", jobId: "j" }];
const cycle = { nowMs: 1, sequence: 1, decisions };

test("a leader that was replaced records nothing after its successor's first record", async (t) => {
  const { bus } = await startTestBus(t);
  const [first, second] = [buildRecorder(bus, 1), buildRecorder(bus, 2)];
  await first.record(noLook, cycle);
  await first.record(noLook, { ...cycle, nowMs: 2 });
  // The successor begins with what it sees, before it has decided anything.
  await second.record(noLook, { ...cycle, decisions: [] });
  await rejects(first.record(noLook, { ...cycle, nowMs: 3 }), /stale-epoch/);
  await second.record(noLook, { ...cycle, nowMs: 4 });
  const told: unknown[] = [];
  const { signal } = new AbortController();
  for await (const { record } of bus.followRecords({ follow: false, signal })) {
    const { kind, epoch } = record as { readonly kind: string; readonly epoch: number };
    told.push(`${kind} ${epoch}`);
  }
  deepEqual(told, ["saw 1", "decided 1", "decided 1", "saw 2", "decided 2"]);
});
