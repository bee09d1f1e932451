import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { decideSource } from "./decide-source.ts";

const sha256 = "a".repeat(64);
const source = {
  checkpoints: [
    { step: 50, sha256: "b".repeat(64) },
    { step: 100, sha256 },
  ],
  spec: { batchSize: 64, seed: 1 },
} as never;
const spec = { batchSize: 64, seed: 1 };
const from = { job: "a-1", step: 100 };

test("a checkpoint that is there is named with its hash", () => {
  deepEqual(decideSource(spec, from, source), { kind: "begin", from: { ...from, sha256 } });
});

for (const [name, args, want] of [
  ["no such job", [spec, from, undefined], ["/spec/from/job"]],
  ["no such step", [spec, { ...from, step: 7 }, source], ["/spec/from/step"]],
  [
    "another checkpoint of that step",
    [spec, { ...from, sha256: "c" }, source],
    ["/spec/from/sha256"],
  ],
  [
    "another place in the data",
    [{ batchSize: 32, seed: 2 }, from, source],
    ["/spec/batchSize", "/spec/seed"],
  ],
] as [string, Parameters<typeof decideSource>, string[]][])
  test(`refused: ${name}`, () => {
    const decision = decideSource(...args);
    deepEqual(decision.kind === "refuse" && decision.violations.map((one) => one.pointer), want);
  });
