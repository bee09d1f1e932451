import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { fillNormal } from "@coxswain/domain";
import { divide } from "./batch.ts";
import { efficiencyOf, gainOf, noiseOfParts, noiseScaleOf } from "./efficiency.ts";
import { atBatch, SmoothedNoise } from "./smoothed-noise.ts";

test("without noise a larger batch brings nothing, with nothing but noise it brings all", () => {
  equal(gainOf({ squaredNorm: 1, variance: 0 }, 8), 1);
  equal(gainOf({ squaredNorm: 0, variance: 1 }, 8), 8);
});

test("at the noise scale a step is worth half of what its samples are", () => {
  const noise = { squaredNorm: 1, variance: 1000 };
  const scale = noiseScaleOf(noise, 1);
  ok(Math.abs(gainOf(noise, scale) / scale - 0.5) < 1e-3);
});

test("the noise of a known gradient is found from the gradients of its parts", () => {
  const [size, parts, rounds] = [400, 8, 200];
  const draws = new Float32Array(size);
  const total = { squaredNorm: 0, variance: 0 };
  for (let round = 0; round < rounds; round += 1) {
    const mean = new Float64Array(size);
    let squares = 0;
    for (let part = 0; part < parts; part += 1) {
      fillNormal({ seed: 7, purpose: 1, a: round, b: part }, draws);
      for (let i = 0; i < size; i += 1) {
        const value = 0.1 + draws[i]!; // true gradient 0.1 everywhere, variance 1 each
        squares += value ** 2 / parts;
        mean[i]! += value / parts;
      }
    }
    const noise = noiseOfParts(
      squares,
      mean.reduce((sum, value) => sum + value ** 2, 0),
      parts,
    );
    total.squaredNorm += noise.squaredNorm / rounds;
    total.variance += noise.variance / rounds;
  }
  ok(Math.abs(total.variance / (size / parts) - 1) < 0.05, `${total.variance}`);
  ok(Math.abs(total.squaredNorm / (0.01 * size) - 1) < 0.15, `${total.squaredNorm}`);
});

const limits = { base: 128, max: 4096, localMin: 32, localMax: 256 };
const divisions: Record<
  string,
  readonly [total: number, workers: number, samples: number, accumulated: number]
> = {
  "a batch is divided evenly": [512, 4, 128, 0],
  "what does not divide is rounded up": [513, 4, 129, 0],
  "what a worker cannot hold is accumulated": [2048, 2, 256, 3],
  "a single worker accumulates, to see its noise": [256, 1, 128, 1],
  "a single worker with the base batch does not": [128, 1, 128, 0],
};

for (const [name, [total, workers, samples, accumulated]] of Object.entries(divisions)) {
  test(name, () => {
    const batch = divide(total, workers, limits);
    equal(batch.samples, samples);
    equal(batch.accumulated, accumulated);
  });
}

test("the efficiency of a batch against its parts: 1 in noise, a part without any, half in between", () => {
  equal(efficiencyOf({ squaredNorm: 0, variance: 3 }, 8), 1);
  equal(efficiencyOf({ squaredNorm: 2, variance: 0 }, 8), 1 / 8);
  // A noise scale as large as the batch: (1 + 1/2) / (1 + 1) for two parts.
  equal(efficiencyOf({ squaredNorm: 1, variance: 1 }, 2), 0.75);
});

test("noise is told once enough steps were measured, and follows what changes", () => {
  const smoothed = new SmoothedNoise(4);
  const add = (times: number, partSquares: number, meanSquare: number) => {
    for (let time = 0; time < times; time += 1) smoothed.add({ partSquares, meanSquare });
  };
  add(7, 5, 2);
  equal(smoothed.noise, undefined);
  add(1, 5, 2);
  const { squaredNorm, variance } = smoothed.noise!;
  ok(Math.abs(squaredNorm - 1) < 1e-12 && Math.abs(variance - 1) < 1e-12);
  add(200, 4, 1);
  equal(Math.round(smoothed.noise!.squaredNorm * 1000), 0);
});

test("what a larger batch shows of the noise is told for the job's own", () => {
  const [parts, squaredNorm, variance] = [8, 2, 5];
  const shown = {
    partSquares: squaredNorm + variance / 4,
    meanSquare: squaredNorm + variance / 4 / parts,
  };
  const own = atBatch(shown, parts, 4);
  const noise = noiseOfParts(own.partSquares, own.meanSquare, parts);
  ok(Math.abs(noise.squaredNorm - squaredNorm) < 1e-12);
  ok(Math.abs(noise.variance - variance / parts) < 1e-12);
});
