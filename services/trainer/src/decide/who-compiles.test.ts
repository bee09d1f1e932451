import { equal } from "node:assert/strict";
import { test } from "node:test";
import type { JobCompiled } from "@coxswain/domain";
import { whoCompiles } from "./who-compiles.ts";

const placed = (...workerIds: readonly string[]) => ({
  compiled: undefined,
  placement: workerIds.map((workerId) => ({ workerId, nodeId: "n1" })),
});
const compiled: JobCompiled = { programHash: "1".repeat(64), mode: "recorded" };

test("the first one placed compiles, the others wait for it", () => {
  equal(whoCompiles(placed("w1-0", "w1-1"), "w1-0"), "me");
  equal(whoCompiles(placed("w1-0", "w1-1"), "w1-1"), "another");
});

test("when the first one is lost, the next one compiles", () => {
  equal(whoCompiles(placed("w1-1", "w2-0"), "w1-1"), "me");
});

test("who is not placed waits for nobody", () => {
  equal(whoCompiles(placed(), "w1-0"), "me");
  equal(whoCompiles(placed("w2-0"), "w1-0"), "me");
});

test("once it is there, nobody compiles", () => {
  equal(whoCompiles({ ...placed("w1-0"), compiled }, "w1-0"), "nobody");
});
