import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import { Audits, auditPlanOf, verdictOf } from "./audit.ts";
import { assignShards } from "./shards.ts";

const rule = { seed: 7, everySteps: 10 };
const votesOf = (...hashes: string[]) =>
  hashes.map((sha256, index) => ({ workerId: `w${index}`, sha256 }));

test("one is due every so many steps, and never alone", () => {
  const due = Array.from({ length: 31 }, (_, step) => step).filter(
    (step) => auditPlanOf(rule, step, assignShards(8, 3)) !== undefined,
  );
  deepEqual(due, [0, 10, 20, 30]);
  equal(auditPlanOf(rule, 10, assignShards(8, 1)), undefined);
});

test("witnesses are different members, the shard's own first; over time every shard and pair has its turn", () => {
  const ranges = assignShards(8, 4);
  const shards = new Set<number>();
  const pairs = new Set<string>();
  for (let step = 0; step < 4000; step += 10) {
    const { shard, witnesses } = auditPlanOf(rule, step, ranges)!;
    equal(ranges[witnesses[0]!]!.from <= shard && shard < ranges[witnesses[0]!]!.to, true);
    equal(new Set(witnesses).size, 3);
    shards.add(shard);
    for (const other of witnesses.slice(1)) pairs.add(`${witnesses[0]} ${other}`);
  }
  deepEqual([shards.size, pairs.size], [8, 12]);
});

const verdicts: Record<string, [string[], string]> = {
  "equal bits": [["a", "a", "a"], "equal"],
  "equal bits of two": [["a", "a"], "equal"],
  "two of three name the third": [["a", "b", "a"], "w1"],
  "its own owner may be the wrong one": [["b", "a", "a"], "w0"],
  "of two nobody can be named": [["a", "b"], "nobody"],
  "of three that all differ neither": [["a", "b", "c"], "nobody"],
};
for (const [name, [hashes, want]] of Object.entries(verdicts))
  test(name, () => {
    const verdict = verdictOf(votesOf(...hashes));
    equal(verdict.kind === "equal" ? "equal" : (verdict.workerId ?? "nobody"), want);
  });

test("a verdict needs all votes, each worker's once; audits without all votes are given up", () => {
  const audits = new Audits();
  const at = { step: 10, shard: 3 };
  const [a, b, c] = votesOf("x", "x", "y");
  equal(audits.add(at, 3, a!), undefined);
  equal(audits.add(at, 3, a!), undefined);
  equal(audits.add(at, 3, b!), undefined);
  equal(audits.add(at, 3, c!)?.verdict.kind, "differs");
  equal(audits.add({ step: 20, shard: 0 }, 2, a!), undefined);
  for (let step = 30; step < 200; step += 1) audits.add({ step, shard: 0 }, 2, a!);
  equal(audits.add({ step: 20, shard: 0 }, 2, b!), undefined);
});

test("an update of several steps is audited when one of them is due", () => {
  const begins = [0, 4, 8, 12, 16, 20];
  const due = begins.filter((step) => auditPlanOf(rule, step, assignShards(8, 2), 4) !== undefined);
  deepEqual(due, [0, 8, 20]);
});
