import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import type { StoredEvent } from "@coxswain/events";
import { roomOf } from "./room.ts";
import { emptyBook, measuredOf, moveSecondsOf, note, outcomeOf } from "./speed-book.ts";

/** Folds what a job tells: `formed` a generation, `speed` reports, `wanted` what was asked for. */
function bookOf(...told: readonly object[]) {
  return (told as StoredEvent[]).reduce(note, emptyBook);
}

const formed = (nodes: readonly string[], cause = "start", agreedMs?: number) => ({
  name: "training.generation-formed",
  timeMs: 1,
  payload: { members: nodes.map((nodeId) => ({ nodeId })), cause, agreedMs },
});
const speed = (workers: number, ...speeds: number[]) =>
  speeds.map((samplesPerSecond) => ({
    name: "training.progressed",
    payload: { workers, samplesPerSecond },
  }));
const wanted = (workersWanted: number, expectedSamplesPerSecond: number) => ({
  name: "job.workers-wanted",
  timeMs: 2,
  payload: { workersWanted, expectedSamplesPerSecond },
});

test("a count is known after three reports, by its median; the first one after a change is none", () => {
  const few = bookOf(formed(["a", "b"]), ...speed(2, 1, 100, 90));
  deepEqual(measuredOf(few), []);
  const enough = bookOf(formed(["a", "b"]), ...speed(2, 1, 100, 90, 5000));
  deepEqual(measuredOf(enough), [{ workers: 2, nodes: 2, samplesPerSecond: 100 }]);
});

test("the gradient's noise is what was told last", () => {
  const noise = { squaredNorm: 1, variance: 2 };
  const told = { name: "training.progressed", payload: { workers: 1, gradientNoise: noise } };
  deepEqual(bookOf(formed(["a"]), told, ...speed(1, 100)).noise, noise);
});

test("a move costs what joins and leaves were measured to cost, losses left out", () => {
  equal(moveSecondsOf(bookOf(formed(["a"]))), 0.092);
  const moved = bookOf(
    formed(["a"], "join", 40),
    formed(["a"], "loss", 9000),
    formed(["a"], "leave", 20),
  );
  equal(moveSecondsOf(moved), 0.04);
});

test("a prediction is held against what was measured after it", () => {
  const asked = [formed(["a"]), ...speed(4, 1, 300, 300, 300), wanted(4, 200), formed(["a"])];
  equal(outcomeOf(bookOf(...asked)), undefined);
  deepEqual(outcomeOf(bookOf(...asked, ...speed(4, 1, 180, 190, 170))), {
    workers: 4,
    expectedSamplesPerSecond: 200,
    observedSamplesPerSecond: 180,
  });
});

const worker = (cpu: number, memory: number, max = 9) => ({
  spec: { resources: { cpu, memory, gpu: 0 }, workers: { max } },
});
const node = (cpu: number, memoryMib: number) => ({ capacity: { cpu, memoryMib, gpu: 0 } });

const rooms = {
  "the scarcest resource counts": [[node(4, 1000)], [worker(1, 500)], 2],
  "each node for itself": [[node(1.5, 9000), node(1.5, 9000)], [worker(1, 1)], 2],
  "the largest worker is the measure": [[node(4, 8000)], [worker(1, 1), worker(2, 1)], 2],
  "disk traffic counts as well": [
    [{ capacity: { cpu: 9, memoryMib: 9000, gpu: 0, diskMibps: 100 } }],
    [{ spec: { resources: { cpu: 1, memory: 1, gpu: 0, diskIo: 40 }, workers: { max: 9 } } }],
    2,
  ],
  "without nodes, the limits of the jobs": [[], [worker(1, 1, 3), worker(1, 1, 4)], 7],
} as const;

for (const [name, [nodes, jobs, want]] of Object.entries(rooms))
  test(name, () => equal(roomOf(nodes, jobs), want));
