import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { type Counter, fillNormal, fillUniform, philox } from "./random.ts";

const ones = 0xffffffff;
/** Known answers of Random123 1.x, file kat_vectors, philox4x32 with 10 rounds. */
const known: [Counter, number, number, string][] = [
  [[0, 0, 0, 0], 0, 0, "6627e8d5 e169c58d bc57ac4c 9b00dbd8"],
  [[ones, ones, ones, ones], ones, ones, "408f276d 41c83b0e a20bc7c6 6d5451fd"],
  [
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344],
    0xa4093822,
    0x299f31d0,
    "d16cfe09 94fdcceb 5001e420 24126ea1",
  ],
];

for (const [counter, key0, key1, want] of known) {
  test(`philox of ${counter.map((word) => word.toString(16))} is the published answer`, () => {
    const out = new Uint32Array(4);
    philox(counter, key0, key1, out);
    deepEqual([...out].map((word) => word.toString(16).padStart(8, "0")).join(" "), want);
  });
}

test("uniform floats lie in [0, 1) with mean one half", () => {
  const out = new Float32Array(20_000);
  fillUniform({ seed: 7, purpose: 1 }, out);
  ok(out.every((value) => value >= 0 && value < 1));
  ok(Math.abs(out.reduce((sum, value) => sum + value, 0) / out.length - 0.5) < 0.01);
});

test("normal floats have mean 0 and variance 1", () => {
  const out = new Float32Array(20_000);
  fillNormal({ seed: 7, purpose: 1 }, out);
  const mean = out.reduce((sum, value) => sum + value, 0) / out.length;
  const variance = out.reduce((sum, value) => sum + (value - mean) ** 2, 0) / out.length;
  ok(Math.abs(mean) < 0.03 && Math.abs(variance - 1) < 0.05, `${mean} ${variance}`);
});

test("another place gives other numbers, the same place the same", () => {
  const draw = (seed: number, a: number) => {
    const out = new Float32Array(4);
    fillUniform({ seed, purpose: 2, a }, out);
    return [...out];
  };
  deepEqual(draw(1, 2), draw(1, 2));
  ok(draw(1, 2)[0] !== draw(1, 3)[0] && draw(1, 2)[0] !== draw(2, 2)[0]);
});

test("the numbers are those that older jobs were started with", () => {
  const uniform = new Float32Array(5);
  fillUniform({ seed: 1, purpose: 1 }, uniform);
  const normal = new Float32Array(3);
  fillNormal({ seed: 1, purpose: 1 }, normal);
  deepEqual(
    [...uniform, ...normal],
    [
      0.6320756077766418, 0.17552727460861206, 0.8324856758117676, 0.011640489101409912,
      0.9098516702651978, -0.9593491554260254, 0.5377829670906067, -0.4004116654396057,
    ],
  );
});

test("a shorter draw is the beginning of a longer one", () => {
  const draw = (length: number, fill: typeof fillUniform) => {
    const out = new Float32Array(length);
    fill({ seed: 9, purpose: 3, a: 4, b: 5 }, out);
    return [...out];
  };
  for (const fill of [fillUniform, fillNormal])
    deepEqual(draw(7, fill), draw(100, fill).slice(0, 7));
});
