import { equal, match } from "node:assert/strict";
import { test } from "node:test";
import { differenceOf } from "./source.ts";

const segments = [
  { name: "w", shape: [2, 3], offset: 0, size: 6 },
  { name: "b", shape: [3], offset: 16, size: 3 },
];
const layout = { segments, parameterFloats: 32, slotCount: 1 };
const facts = { step: 5, samplesTrain: 100, ...layout };
const ports = { steps: 10, compiled: { samplesTrain: 100, layout } } as never;

test("a checkpoint of the program's shape may be begun at", () => {
  equal(differenceOf(ports, facts), undefined);
});

for (const [name, change, words] of [
  ["the job's end is not behind it", { step: 10 }, /nothing to train: the job has 10 steps/],
  ["other data", { samplesTrain: 99 }, /on 99 samples, the job's data has 100/],
  [
    "another shape",
    { segments: [{ ...segments[0]!, shape: [3, 2] }, segments[1]!] },
    /has w \[3, 2\] where the program has w \[2, 3\]/,
  ],
  ["a parameter less", { segments: segments.slice(0, 1) }, /has no parameter where .* has b \[3\]/],
  [
    "a parameter more",
    { segments: [...segments, { ...segments[1]!, name: "c" }] },
    /has c \[3\] where the program has none/,
  ],
  ["another optimizer", { slotCount: 2 }, /has 2 values of the optimizer/],
  ["another layout", { parameterFloats: 48 }, /lays its parameters out differently/],
] as [string, Partial<typeof facts>, RegExp][])
  test(`refused: ${name}`, () => match(differenceOf(ports, { ...facts, ...change }) ?? "", words));
