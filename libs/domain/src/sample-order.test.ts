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
