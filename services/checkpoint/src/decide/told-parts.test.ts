import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import type { StoredEvent } from "@coxswain/events";
import { ToldParts } from "./told-parts.ts";

type Said = readonly [name: string, step: number, generation: number, part?: number];

/** The parts that are known of a place after the log was seen; each event's sequence is its index. */
function toldOf(log: readonly Said[], step: number, generation: number, sequence = 99): number[] {
  const told = new ToldParts();
  for (const [index, [name, ofStep, ofGeneration, part]] of log.entries()) {
    const payload = { step: ofStep, generation: ofGeneration, part };
    told.observe({ name, jobId: "j", sequence: index, payload } as unknown as StoredEvent);
  }
  return told.upTo("j", { step, generation }, sequence).map((one) => one.part);
}

const written = (step: number, generation: number, part: number): Said => [
  "checkpoint.written",
  step,
  generation,
  part,
];

const parts = [written(10, 1, 0), written(10, 1, 1), written(20, 1, 0), written(10, 2, 0)];

for (const [name, log, want] of [
  ["parts are kept by step and generation", parts, [[0, 1], [0], [0]]],
  ["a commit ends what is older", [...parts, ["checkpoint.committed", 10, 1]], [[], [0], [0]]],
  [
    "a commit of an older generation leaves a later one's parts",
    [...parts, ["checkpoint.committed", 20, 1]],
    [[], [], [0]],
  ],
  [
    "a rejection asks for all parts again",
    [...parts, ["checkpoint.rejected", 10, 1]],
    [[], [0], [0]],
  ],
  ["an ended job needs none", [...parts, ["job.failed", 0, 0]], [[], [], []]],
] as [string, Said[], number[][]][])
  test(name, () => deepEqual([toldOf(log, 10, 1), toldOf(log, 20, 1), toldOf(log, 10, 2)], want));

test("an event that is delivered again sees what it saw", () => {
  deepEqual(toldOf(parts, 10, 1, 0), [0]);
});

test("a restart sees the last part told of each checkpoint", () => {
  const told = new ToldParts();
  for (const [index, [name, step, generation, part]] of parts.entries())
    told.observe({
      name,
      jobId: "j",
      sequence: index,
      payload: { step, generation, part },
    } as never);
  deepEqual(
    told.pending().map(({ sequence, part }) => [part.step, part.generation, sequence]),
    [
      [10, 1, 1],
      [20, 1, 2],
      [10, 2, 3],
    ],
  );
});
