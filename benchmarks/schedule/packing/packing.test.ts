import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { fill } from "./fill.ts";
import { classesOf, fragmentation } from "./fragmentation.ts";
import { fillLive, nodeOf } from "./live.ts";
import { fits, machineOf, type Pod, take, waysToTake } from "./machines.ts";
import { runApart, runTogether } from "./makespan.ts";
import { fillApart, fillTogether, splitOf } from "./mixed.ts";
import { inflated, readRows, syntheticTrace } from "./openb.ts";
import { policies } from "./policies.ts";

const podOf = (gpus: number, gpuMilli: number, cpuMilli = 1000): Pod => ({
  cpuMilli,
  memoryMib: 1024,
  gpus,
  gpuMilli,
});

test("fragmentation: what the next pod cannot use of the free GPUs, by how likely it comes", () => {
  const machine = machineOf(4000, 65_536, 2);
  take(podOf(1, 600), machine, [0]);
  // Free: 400 and 1000. Half of the pods take 500 of one GPU, half need more cores than there are.
  const classes = classesOf([podOf(1, 500), podOf(1, 500, 8000)]);
  equal(fragmentation(machine, classes), 0.5 * 400 + 0.5 * 1400);
});

test("a part of a GPU may go on each GPU that differs; whole ones go on the first that are free", () => {
  const machine = machineOf(16_000, 65_536, 4);
  take(podOf(1, 600), machine, [1]);
  deepEqual(waysToTake(podOf(1, 300), machine), [[1], [0]]);
  deepEqual(waysToTake(podOf(2, 1000), machine), [[0, 2]]);
  equal(fits(podOf(4, 1000), machine), false);
});

const placeOf: Record<string, readonly number[]> = {
  "first-fit": [0, 1000],
  "best-fit": [1, 500],
  fgd: [1, 500],
};
for (const [name, [index, free]] of Object.entries(placeOf))
  test(`${name} puts half a GPU on machine ${index}`, () => {
    const machines = [machineOf(16_000, 65_536, 1), machineOf(16_000, 65_536, 1)];
    take(podOf(1, 500), machines[1]!, [0]);
    const pod = podOf(1, 500);
    const score = policies[name]!(classesOf([pod, podOf(1, 1000)]));
    const scores = machines.map((machine) => score(pod, machine, [0]));
    equal(scores.indexOf(Math.min(...scores)), index);
    equal(machines[index!]!.gpuFree[0], free);
  });

test("no policy allocates more than there is, and each fills more than nothing", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 1000 }), (seed) => {
      const trace = syntheticTrace(seed);
      const classes = classesOf(trace.pods);
      for (const [name, scoreFor] of Object.entries(policies)) {
        const filled = fill(trace.machines, inflated(trace, 1.2, seed), scoreFor(classes));
        ok(filled.gpuAllocatedAtEnd > 0.5 && filled.gpuAllocatedAtEnd <= 1, name);
        ok(filled.gpuAllocatedAtEnd >= filled.gpuAllocatedAtFullDemand, name);
      }
    }),
    { numRuns: 5 },
  );
});

test("rows of a file are read by the names in its first line", () => {
  deepEqual(readRows("a,b\n1,2\n3,\n"), [
    { a: "1", b: "2" },
    { a: "3", b: "" },
  ]);
});

test("the live scheduler fills a cluster, and no more than there is", () => {
  const nodes = [
    nodeOf(0, { cpu: 12, memory: 1024, gpu: 1 }),
    nodeOf(1, { cpu: 4, memory: 1024, gpu: 0 }),
  ];
  const worker = { cpu: 4, memory: 256, gpu: 0 };
  const filled = fillLive(nodes, [worker, worker, worker, worker, worker], "fgd");
  deepEqual([filled.placed, filled.rejected], [4, 1]);
  deepEqual([filled.atEnd.cpu, filled.atEnd.memoryMib, filled.atEnd.gpu], [1, 0.5, 0]);
});

test("mixed jobs: every machine belongs to one kind, and together they hold more than apart", () => {
  const split = splitOf(["vision", "vision", "tables", "small", "preparing"]);
  equal(
    split.reduce((sum, { count }) => sum + count, 0),
    64,
  );
  ok(
    split.find(({ kind }) => kind === "vision")!.count >
      split.find(({ kind }) => kind === "small")!.count,
  );
  const [together, apart] = [fillTogether(1.1, 1, "fgd"), fillApart(1.1, 1, "fgd")];
  ok(together.placed > apart.placed);
  for (const part of Object.values(together.atEnd)) ok(part <= 1);
});

test("mixed jobs end sooner together than apart, and no sooner than the machines allow", () => {
  const [together, apart] = [runTogether(1.5, 1), runApart(1.5, 1)];
  ok(together.makespanHours < apart.makespanHours);
  equal(together.leastHours, apart.leastHours);
  for (const { makespanHours, leastHours, used } of [together, apart]) {
    ok(makespanHours >= leastHours);
    for (const part of Object.values(used)) ok(part > 0.05 && part <= 1);
  }
});
