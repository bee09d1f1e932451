import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { type Demand, decideAllocation, workersReach } from "./decide-allocation.ts";

const room = [4, 4];

/** A job whose speed grows as a power of its workers: 1 scales perfectly, 0 not at all. */
function demand(hoursLeft: number, scaling: number, more: Partial<Demand> = {}): Demand {
  return {
    workersMin: 0,
    workersMax: 64,
    present: [],
    goodput: ({ workers }) => workers ** scaling,
    stepsLeft: hoursLeft * 3600,
    moveSeconds: 30,
    ...more,
  };
}

const cases: Record<string, { demands: Demand[]; want: number[] }> = {
  "who is alone and scales gets everything": { demands: [demand(1, 1)], want: [8] },
  "who does not scale gets one": { demands: [demand(1, 0)], want: [1] },
  "equal jobs share equally": { demands: [demand(1, 0.9), demand(1, 0.9)], want: [4, 4] },
  "what ends soon gets more": { demands: [demand(3, 0.9), demand(0.1, 0.9)], want: [2, 6] },
  "beyond the cap all are equally urgent": {
    demands: [demand(40, 0.9), demand(400, 0.9)],
    want: [4, 4],
  },
  "a job that never ran gets one worker, before all others": {
    demands: [demand(0.1, 1), demand(1, 1, { goodput: undefined, workersMax: 1 })],
    want: [7, 1],
  },
  "a job that never ran gets up to a node where nobody makes more of it": {
    demands: [demand(1, 0, { present: [0] }), demand(1, 1, { goodput: undefined })],
    want: [1, 4],
  },
  "a job that never ran takes no second worker from who makes more of it": {
    demands: [demand(0.1, 1), demand(1, 1, { goodput: undefined })],
    want: [7, 1],
  },
  "no more than it may have": { demands: [demand(1, 1, { workersMax: 2 })], want: [2] },
};

for (const [name, { demands, want }] of Object.entries(cases))
  test(name, () => {
    deepEqual(
      decideAllocation(demands, room).map(({ length }) => length),
      want,
    );
  });

test("a move that does not pay is not made: dear ones less often than cheap ones", () => {
  const runner = (moveSeconds: number) =>
    demand(1, 0.3, { present: [0, 0, 0, 0, 1, 1], moveSeconds });
  equal(decideAllocation([runner(30)], room)[0]!.length, 6);
  equal(decideAllocation([runner(0.1)], room)[0]!.length, 8);
});

test("a count is explored by multiples of what was tried", () => {
  deepEqual(
    [0, 1, 2, 8].map((tried) => workersReach(tried, 2)),
    [1, 2, 4, 16],
  );
});

test("160 jobs on 64 workers: every worker is given, and the same jobs give the same plan", () => {
  const demands = Array.from({ length: 160 }, (_, index) => demand(1 + (index % 7), 0.8));
  const nodes = new Array<number>(16).fill(4);
  const places = decideAllocation(demands, nodes);
  equal(places.flat().length, 64);
  ok(places.every(({ length }) => length <= 1));
  deepEqual(decideAllocation(demands, nodes), places);
});
