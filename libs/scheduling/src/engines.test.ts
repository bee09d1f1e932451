/** Which engine a job's workers get, on nodes that have several. */
import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { decidePlacement } from "./decide-placement.ts";
import type { NodeView } from "./snapshot.ts";
import { brief, type JobInput, jobOf, snapshotOf } from "./testing.ts";

const native = (words: string) => ({ name: "native", identity: `native tf ${words}` });
const wasm = { name: "wasm", identity: "wasm 1" };

/** Two nodes of one core whose processors differ, one that has a GPU. */
const nodes: NodeView[] = [
  ["new", 0, [native("cpu-1"), native("isa-avx2"), native("isa-avx512"), wasm]],
  ["old", 0, [native("cpu-2"), native("isa-avx2"), wasm]],
  ["gpu", 1, [native("gpu-3"), native("cpu-1"), wasm]],
].map(([nodeId, gpu, engines]) => ({
  nodeId: nodeId as string,
  capacity: { cpu: 1, memoryMib: 1000, gpu: gpu as number },
  engines: engines as NodeView["engines"],
  isAlive: true,
}));

const cases: Record<string, readonly [nodes: string, job: JobInput, want: string]> = {
  "its own instructions: two workers find no two processors alike": [
    "new old",
    { min: 2, max: 2, engine: "native" },
    "j0: WaitingForRoom",
  ],
  "held to a level that both have: one on each": [
    "new old",
    { min: 2, max: 2, engine: { name: "native", isa: "avx2" } },
    "j0: new old native tf isa-avx2",
  ],
  "held to a level that one of them lacks": [
    "new old",
    { min: 2, max: 2, engine: { name: "native", isa: "avx512" } },
    "j0: WaitingForRoom",
  ],
  "held to a level that no node has": [
    "old",
    { min: 1, max: 1, engine: { name: "native", isa: "avx512" } },
    "j0: NoMatchingEngine",
  ],
  "a job that asks for no level is held to none": [
    "old",
    { min: 1, max: 1 },
    "j0: old native tf cpu-2",
  ],
  "a job with a GPU gets the engine that uses it": [
    "new gpu",
    { min: 1, max: 1, gpu: 1 },
    "j0: gpu native tf gpu-3",
  ],
  "a job without a GPU never gets that engine": [
    "gpu",
    { min: 1, max: 1 },
    "j0: gpu native tf cpu-1",
  ],
};

for (const [name, [there, job, want]] of Object.entries(cases))
  test(name, () => {
    const views = nodes.filter(({ nodeId }) => there.split(" ").includes(nodeId));
    const [decision] = decidePlacement(snapshotOf([], [jobOf(job, 0)], { nodes: views }));
    const engine = decision?.kind === "place" ? ` ${decision.engine.identity}` : "";
    deepEqual(`${brief(decision!)}${engine}`, want);
  });

test("a GPU that no node has: the wait says so", () => {
  const job = jobOf({ min: 2, max: 2, gpu: 1 }, 0);
  const [decision] = decidePlacement(snapshotOf([4], [job]));
  deepEqual(decision?.kind === "queue" && [decision.reason, decision.message], [
    "WaitingForNodes",
    "No node has 1 GPUs, which each worker needs.",
  ]);
});
