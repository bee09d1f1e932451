import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { decidePlacement } from "./decide-placement.ts";
import { Demand } from "./demand.ts";
import type { NodeChoice } from "./node-choice.ts";
import { growthFor } from "./node-choice.ts";
import type { Snapshot } from "./snapshot.ts";
import { brief, engine, jobOf } from "./testing.ts";
import { unitsOf } from "./vector.ts";

const units = (cpu: number, gpu = 0) => unitsOf({ cpu, gpu });

test("what a placement strands: the room that shapes of this cluster could have used", () => {
  const shapes = [
    { units: units(5), popularity: 0.5 },
    { units: units(2), popularity: 0.5 },
  ];
  const growth = growthFor(shapes, units(100));
  // 12 cores hold two of 5 and strand 2, six of 2 and strand none. With 4 gone, 3 and none.
  equal(growth(units(12), units(4)).toFixed(6), (0.5 * (3 - 2) * 0.01).toFixed(6));
  ok(growth(units(12), units(2)) < 0, "what fits exactly makes use of what was stranded");
});

/** A 4-core worker, where 5-core workers are most of what is wanted. */
const cases: Record<NodeChoice, string> = {
  // It leaves 10 on the larger node, 8 on the smaller.
  fgd: "n1",
  "best-fit": "n0",
  "first-fit": "n0",
};

for (const [nodeChoice, want] of Object.entries(cases))
  test(`${nodeChoice} puts it on ${want}`, () => {
    const snapshot: Snapshot = {
      nowMs: 1e6,
      nodes: [12, 14].map((cpu, index) => ({
        nodeId: `n${index}`,
        capacity: { cpu, memoryMib: 100_000, gpu: 0 },
        engines: [engine],
        isAlive: true,
      })),
      jobs: [
        jobOf({ min: 1, max: 1, cpu: 4, priority: 1 }, 0),
        // More than there is room for: it waits.
        jobOf({ min: 9, max: 9, cpu: 5 }, 1),
      ],
      policy: { freezeMs: 0, nodeChoice: nodeChoice as NodeChoice },
    };
    equal(brief(decidePlacement(snapshot)[0]!), `j0: ${want}`);
  });

test("demand counts workers by shape, and forgets whoever is gone", () => {
  const demand = new Demand();
  demand.set("a", units(1), 3);
  demand.set("b", units(2), 1);
  demand.set("a", units(1), 1);
  demand.set("c", units(2), 2);
  deepEqual(demand.shapes, [
    { units: units(2), popularity: 0.75 },
    { units: units(1), popularity: 0.25 },
  ]);
  demand.delete("b");
  demand.delete("c");
  demand.delete("c");
  deepEqual(demand.shapes, [{ units: units(1), popularity: 1 }]);
});
