import { deepEqual, equal } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { permutation, shardSamples } from "./sample-order.ts";

test("an epoch's order holds each sample exactly once, for any size, seed and epoch", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 3000 }),
      fc.nat(),
      fc.nat({ max: 1000 }),
      (samples, seed, epoch) => {
        const order = permutation(seed, epoch, samples);
        const seen = new Set(Array.from({ length: samples }, (_, index) => order(index)));
        equal(seen.size, samples);
        equal(Math.max(...seen), samples - 1);
      },
    ),
    { numRuns: 60 },
  );
});

test("another epoch has another order", () => {
  const first = Array.from({ length: 50 }, (_, index) => permutation(1, 0, 50)(index));
  const second = Array.from({ length: 50 }, (_, index) => permutation(1, 1, 50)(index));
  equal(first.join() === second.join(), false);
});

test("the order is the one that older jobs were trained in", () => {
  deepEqual(
    Array.from({ length: 8 }, (_, index) => permutation(1, 0, 60_000)(index)),
    [25995, 41286, 11265, 5942, 30184, 43655, 11340, 27444],
  );
});

test("shards of consecutive steps run on across the end of an epoch without gap or repeat", () => {
  const place = { seed: 3, samples: 20, batchSize: 8, shards: 4 };
  const stream = Array.from({ length: 5 }, (_, step) =>
    Array.from({ length: 4 }, (_, shard) => shardSamples({ ...place, step, shard })).flat(),
  ).flat();
  equal(new Set(stream.slice(0, 20)).size, 20);
  equal(new Set(stream.slice(20, 40)).size, 20);
});

test("a trillion samples cost no memory", () => {
  const order = permutation(1, 0, 1e12);
  const value = order(123_456_789_012);
  equal(value >= 0 && value < 1e12, true);
});

test("a billion samples: no two of a hundred thousand places hold the same one", () => {
  const order = permutation(4_294_967_295, 3, 1e9);
  const seen = new Set(Array.from({ length: 100_000 }, (_, i) => order(i * 9973)));
  equal(seen.size, 100_000);
});

test("sizes around powers of two and four are bijections too", () => {
  for (const size of [1, 2, 3, 4, 5, 15, 16, 17, 63, 64, 65, 255, 256, 257, 4095, 4096, 4097]) {
    const order = permutation(9, 2, size);
    equal(new Set(Array.from({ length: size }, (_, index) => order(index))).size, size);
  }
});

test("every sample comes first about equally often", () => {
  const counts = new Uint32Array(20);
  for (let epoch = 0; epoch < 20_000; epoch += 1) counts[permutation(5, epoch, 20)(0)]! += 1;
  // Chi-square with 19 degrees of freedom: 43.8 is exceeded once in a thousand.
  const chiSquare = counts.reduce((sum, count) => sum + (count - 1000) ** 2 / 1000, 0);
  equal(chiSquare < 43.8, true, `${chiSquare}`);
});

test("shards divide a step's samples alike, however many there are", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 500 }),
      fc.nat({ max: 200 }),
      fc.constantFrom(1, 2, 4, 8, 16),
      (samples, step, shards) => {
        const place = { seed: 3, samples, batchSize: 16, step };
        const whole = shardSamples({ ...place, shards: 1, shard: 0 });
        const parts = Array.from({ length: shards }, (_, shard) =>
          shardSamples({ ...place, shards, shard }),
        );
        deepEqual(parts.flat(), whole);
      },
    ),
    { numRuns: 100 },
  );
});

test("other seeds have other orders, up to the highest seed", () => {
  const first = (seed: number) =>
    Array.from({ length: 20 }, (_, i) => permutation(seed, 0, 1000)(i)).join();
  const seeds = [0, 1, 2, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1];
  equal(new Set(seeds.map(first)).size, seeds.length);
});
