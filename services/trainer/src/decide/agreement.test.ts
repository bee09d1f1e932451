import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import {
  accept,
  ballotAbove,
  type Member,
  type Proposal,
  promise,
  proposalOf,
  quorumOf,
  type Vote,
} from "./agreement.ts";

const member = (workerId: string): Member => ({
  workerId,
  nodeId: "n",
  address: workerId,
  shardFrom: 0,
  shardTo: 1,
});
const ids = ["a", "b", "c", "d", "e"];

const quorums: Record<string, [number, string[], string[], string]> = {
  "all of one": [1, ["a"], [], "majority"],
  "two of three": [3, ["a", "c"], [], "majority"],
  "one of two needs the record": [2, ["b"], [], "with-record"],
  "two of four need the record": [4, ["a", "b"], [], "with-record"],
  "one of three waits": [3, ["a"], [], "none"],
  "one of three waits while one may live": [3, ["a"], ["b"], "none"],
  "one of three when the others are dead": [3, ["a"], ["b", "c"], "with-record"],
  "nobody never decides": [3, [], ["a", "b", "c"], "none"],
  "strangers do not count": [3, ["x", "y", "z"], [], "none"],
};
for (const [name, [count, answered, dead, want]] of Object.entries(quorums)) {
  test(name, () =>
    equal(quorumOf(ids.slice(0, count).map(member), new Set(answered), new Set(dead)).kind, want),
  );
}

test("two quorums without the record share a member; with it, the record or a member", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.subarray(ids),
      fc.subarray(ids),
      (count, one, two) => {
        const members = ids.slice(0, count).map(member);
        const of = (set: string[]) => quorumOf(members, new Set(set), new Set());
        const shared = one.some((id) => two.includes(id) && ids.indexOf(id) < count);
        const [first, second] = [of(one), of(two)];
        if (first.kind === "none" || second.kind === "none") return true;
        return shared || (first.kind === "with-record" && second.kind === "with-record");
      },
    ),
  );
});

const proposal = (name: string): Proposal => ({
  generation: 2,
  fromStep: 0,
  members: [member(name)],
  cause: "loss",
  joined: [],
  left: [],
  lost: [],
  level: [],
});

test("a promise to a higher ballot refuses the lower ones", () => {
  const none: Vote = { promised: 0 };
  const high = promise(none, ballotAbove(2048, 1)).vote;
  equal(promise(high, 5).isPromised, false);
  equal(accept(high, 5, proposal("x")).isAccepted, false);
  equal(accept(high, high.promised, proposal("x")).isAccepted, true);
});

test("what may have been decided is proposed again: the highest ballot counts", () => {
  const promises = [
    { workerId: "a", step: 3 },
    { workerId: "b", step: 3, accepted: { ballot: 1025, proposal: proposal("old") } },
    { workerId: "c", step: 4, accepted: { ballot: 2048, proposal: proposal("new") } },
  ];
  const input = {
    generation: 1,
    members: ids.slice(0, 3).map(member),
    shards: 8,
    leaving: new Set<string>(),
    joining: [],
  };
  deepEqual(proposalOf({ ...input, promises }), proposal("new"));
});

test("else those who promised go on from the furthest step, without the leaving, with the joining", () => {
  const made = proposalOf({
    generation: 1,
    members: ids.slice(0, 4).map(member),
    shards: 8,
    promises: [
      { workerId: "a", step: 3 },
      { workerId: "b", step: 4 },
      { workerId: "c", step: 4 },
    ],
    leaving: new Set(["b"]),
    joining: [member("x")],
  });
  deepEqual(
    made.members.map(({ workerId, shardFrom, shardTo }) => [workerId, shardFrom, shardTo]),
    [
      ["a", 0, 3],
      ["c", 3, 6],
      ["x", 6, 8],
    ],
  );
  deepEqual(
    { ...made, members: [] },
    {
      generation: 2,
      fromStep: 4,
      members: [],
      cause: "loss",
      joined: ["x"],
      left: ["b"],
      lost: ["d"],
      level: ["b", "c"],
    },
  );
});

test("another batch begins where the members are; a loss keeps what holds", () => {
  const held = [{ fromStep: 2, batchSize: 64, learningRateFactor: 2, decision: 5 }];
  const input = {
    generation: 1,
    members: [member("a"), member("b")],
    shards: 8,
    promises: [
      { workerId: "a", step: 7 },
      { workerId: "b", step: 9 },
    ],
    leaving: new Set<string>(),
    joining: [],
    batches: held,
  };
  const batchWanted = { batchSize: 128, learningRateFactor: 3, decision: 8 };
  const changed = proposalOf({ ...input, batchWanted });
  deepEqual(
    [changed.cause, changed.batches],
    ["batch", [...held, { fromStep: 9, ...batchWanted }]],
  );
  const lost = proposalOf({ ...input, promises: input.promises.slice(0, 1) });
  deepEqual([lost.cause, lost.batches], ["loss", held]);
});
