import { deepEqual } from "node:assert/strict";
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
} from "@coxswain/program";
import fc from "fast-check";
import { buildUpdate } from "./update-kernel.ts";

const floats = 64;
/** Of unequal lengths. */
const tensors = [
  { from: 0, to: 16 },
  { from: 16, to: 64 },
];
const falling = cosine({ from: 0.1, steps: 10 });
const optimizers: Readonly<Record<string, Optimizer>> = {
  sgd: sgd({ learningRate: falling }),
  momentum: momentum({ learningRate: 0.03 }),
  nesterov: momentum({ learningRate: 0.03, momentum: 0.8, nesterov: true }),
  adam: adam({ learningRate: 1e-3 }),
  adamW: adamW({ learningRate: falling, weightDecay: 0.1 }),
  lamb: lamb({ learningRate: 0.01 }),
  "sgd, clipped by value": clipByValue(sgd({ learningRate: 0.1 }), 0.5),
  "momentum, clipped by the norm of each tensor": clipByNorm(momentum({ learningRate: 0.1 }), 1),
  "lamb, clipped by the global norm and by value": clipByGlobalNorm(
    clipByValue(lamb({ learningRate: 0.01 }), 0.5),
    2,
  ),
};

/** Parameters, gradient and slots, one after the other. */
function vectorsIn(buffer: ArrayBufferLike, slots: number) {
  const at = (index: number) => new Float32Array(buffer, index * floats * 4, floats);
  return {
    parameters: at(0),
    gradient: at(1),
    slots: Array.from({ length: slots }, (_, i) => at(2 + i)),
  };
}

const vector = fc.array(fc.float({ noNaN: true }), { minLength: floats, maxLength: floats });

for (const [name, optimizer] of Object.entries(optimizers)) {
  test(`${name} as loops has the bits of its rule, step by step`, () => {
    const { rule, slotCount } = optimizer;
    const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
    const update = buildUpdate(memory, rule!.update);
    fc.assert(
      fc.property(vector, fc.array(vector, { minLength: 1, maxLength: 4 }), (start, gradients) => {
        const fast = vectorsIn(memory.buffer, slotCount);
        const plain = vectorsIn(new ArrayBuffer(floats * 4 * 4), slotCount);
        for (const vectors of [fast, plain]) {
          vectors.parameters.set(start);
          for (const slot of vectors.slots) slot.fill(0);
        }
        for (const [step, values] of gradients.entries()) {
          for (const { gradient } of [fast, plain]) gradient.set(values);
          update(fast, { scalars: rule!.scalars(step), tensors });
          optimizer.update({ step, ...plain, tensors });
        }
        const bits = (vectors: typeof fast) =>
          [vectors.parameters, ...vectors.slots].map((one) =>
            [...new Uint32Array(one.slice().buffer)].map(plainNaN),
          );
        deepEqual(bits(fast), bits(plain));
      }),
      { numRuns: 200 },
    );
  });
}

/** A NaN is a NaN, whatever its payload: no step with one is ever committed. */
function plainNaN(bits: number): number {
  return (bits & 0x7f80_0000) === 0x7f80_0000 && (bits & 0x007f_ffff) !== 0 ? 0x7fc0_0000 : bits;
}

test("what a slot keeps decays to 0 and is never subnormal; what is not a number stays", () => {
  const { rule } = momentum({ learningRate: 1, momentum: 0.5 });
  const memory = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true });
  const update = buildUpdate(memory, rule!.update);
  const vectors = vectorsIn(memory.buffer, 1);
  const [velocity] = vectors.slots;
  vectors.gradient.set([2 ** -125, -(2 ** -125), Number.NaN, 1, 2 ** -140]);
  const seen: (readonly number[])[] = [];
  for (let step = 0; step < 4; step += 1) {
    update(vectors, { scalars: rule!.scalars(step), tensors });
    seen.push([...velocity!.subarray(0, 5)]);
    vectors.gradient.fill(0);
  }
  deepEqual(seen, [
    [2 ** -125, -(2 ** -125), Number.NaN, 1, 0],
    [2 ** -126, -(2 ** -126), Number.NaN, 0.5, 0],
    [0, 0, Number.NaN, 0.25, 0],
    [0, 0, Number.NaN, 0.125, 0],
  ]);
});
