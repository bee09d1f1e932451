import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { decideToken, type TokenSeen } from "./decide-token.ts";

const cases: Record<string, readonly [TokenSeen, string]> = {
  "a first installation makes one": [{ hasToken: false, workers: [] }, "make"],
  "one that is there is kept": [{ hasToken: true, workers: [] }, "keep"],
  "also while jobs train": [{ hasToken: true, workers: ["a-w1"] }, "keep"],
  "workers without one are not left behind": [{ hasToken: false, workers: ["a-w1"] }, "refuse"],
};
for (const [name, [seen, want]] of Object.entries(cases))
  test(`the bus' token: ${name}`, () => deepEqual(decideToken(seen).kind, want));
