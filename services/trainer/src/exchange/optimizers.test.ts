/** Every optimizer behind the exchange: the same bits for 1, 2, 3 and 4 workers. */
import { equal, notEqual } from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import {
  adam,
  adamW,
  clipByGlobalNorm,
  clipByNorm,
  clipByValue,
  cosine,
  lamb,
  momentum,
  type Optimizer,
  sgd,
  warmUp,
} from "@coxswain/program";
import { reduceAmong } from "./in-process.ts";

const tensors = [
  { from: 0, to: 64 },
  { from: 64, to: 4096 + 160 },
];
const floats = 4096 + 160;
const shards = 8;
const steps = 4;
const learningRate = warmUp({ steps: 2, from: 1e-3, after: cosine({ from: 0.02, steps: 20 }) });

const optimizers: Readonly<Record<string, Optimizer>> = {
  SGD: sgd({ learningRate }),
  momentum: momentum({ learningRate }),
  Nesterov: momentum({ learningRate, nesterov: true }),
  Adam: adam({ learningRate }),
  AdamW: adamW({ learningRate }),
  LAMB: lamb({ learningRate }),
  "SGD clipped by value": clipByValue(sgd({ learningRate }), 0.1),
  "momentum clipped by each tensor's norm": clipByNorm(momentum({ learningRate }), 1),
  "LAMB clipped by the global norm": clipByGlobalNorm(lamb({ learningRate }), 1),
};

/** A made-up gradient of a shard: of widely different sizes, so that another order has other bits. */
const gradientOf = (step: number, shard: number, parameters: Float32Array) =>
  parameters.map((p, i) => Math.sin(i * 7 + shard * 13 + step) * 10 ** ((i + shard) % 6) + p);

/** Hashes of what each of `world` workers has after the last step. */
function trained(optimizer: Optimizer, world: number): string[] {
  const workers = Array.from({ length: world }, () => ({
    parameters: new Float32Array(floats).map((_, i) => Math.cos(i)),
    slots: Array.from({ length: optimizer.slotCount }, () => new Float32Array(floats)),
  }));
  for (let step = 0; step < steps; step += 1) {
    const given = Array.from({ length: shards }, (_, shard) =>
      gradientOf(step, shard, workers[shard % world]!.parameters),
    );
    for (const [rank, gradient] of reduceAmong(given, world).entries())
      optimizer.update({ step, ...workers[rank]!, gradient, tensors });
  }
  return workers.map(({ parameters }) =>
    createHash("sha256").update(Buffer.from(parameters.buffer)).digest("hex"),
  );
}

for (const [name, optimizer] of Object.entries(optimizers)) {
  test(`${name}: 1, 2, 3 and 4 workers have the same bits`, () => {
    const [alone] = trained(optimizer, 1);
    for (const world of [2, 3, 4]) for (const hash of trained(optimizer, world)) equal(hash, alone);
  });
}

test("the bits tell one optimizer from another", () => {
  const hashes = Object.values(optimizers).map((optimizer) => trained(optimizer, 1)[0]);
  for (const [index, hash] of hashes.entries())
    for (const other of hashes.slice(index + 1)) notEqual(hash, other);
});
