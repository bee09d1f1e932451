import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { adam, adamW, momentum, type Optimizer, sgd } from "@coxswain/program";
import fc from "fast-check";
import { buildUpdate } from "./update-kernel.ts";

const floats = 64;
const cosine = (step: number) => 0.05 * (1 + Math.cos(step / 10));
const optimizers: Readonly<Record<string, Optimizer>> = {
  sgd: sgd({ learningRate: cosine }),
  momentum: momentum({ learningRate: 0.03 }),
  nesterov: momentum({ learningRate: 0.03, momentum: 0.8, nesterov: true }),
  adam: adam({ learningRate: 1e-3 }),
  adamW: adamW({ learningRate: cosine, weightDecay: 0.1 }),
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
  test(`${name} as one loop has the bits of its rule, step by step`, () => {
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
          update(fast, rule!.scalars(step));
          optimizer.update({ step, ...plain, from: 0, to: floats });
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
