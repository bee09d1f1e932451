import { equal } from "node:assert/strict";
import { test } from "node:test";
import type { Proposal } from "./agreement.ts";
import { type StartInput, startOf } from "./start-of.ts";

const member = (workerId: string) => ({
  ...{ workerId, nodeId: "n", address: workerId, shardFrom: 0, shardTo: 4 },
});
const proposal: Proposal = {
  ...{ generation: 3, fromStep: 20, members: ["a", "b", "c"].map(member), cause: "join" },
  ...{ joined: ["c"], left: [], lost: [], level: ["a", "b"], isPlanned: true },
};
const { isPlanned: _, ...atOnce } = proposal;
const old: StartInput = {
  ...{ proposal, workerId: "a", state: "member", isReady: false, generation: 2, step: 12 },
  isDisturbed: false,
};

const cases: Record<string, readonly [Partial<StartInput>, string]> = {
  "a member computes on until the step": [{}, "at-its-step"],
  "at the step it begins": [{ step: 20 }, "reached"],
  "a change that is not planned begins at once": [{ proposal: atOnce }, "not-planned"],
  "who has stopped cannot go on to the step": [{ state: "frozen" }, "stopped"],
  "nor can who lags": [{ state: "catching-up" }, "stopped"],
  "nor a member of an older generation": [{ generation: 1 }, "stopped"],
  "when somebody is missed nobody gets there": [{ isDisturbed: true }, "disturbed"],
  "a newcomer follows until the step": [
    { state: "joining", workerId: "c", isReady: true, generation: 0 },
    "at-its-step",
  ],
  "a newcomer that starts over is not taken in": [
    { state: "joining", workerId: "c", generation: 0 },
    "not-taken-in",
  ],
  "nor one that is not in it": [
    { state: "joining", workerId: "d", isReady: true, generation: 0 },
    "not-taken-in",
  ],
};

for (const [name, [change, want]] of Object.entries(cases))
  test(name, () => {
    const start = startOf({ ...old, ...change });
    equal(start.kind === "now" ? start.reason : start.kind, want);
  });
