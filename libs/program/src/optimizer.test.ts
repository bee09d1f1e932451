/**
 * Optimizers against their published formulas, computed here in double: each test's reference is
 * written as in PyTorch's documentation, on one array a tensor, with no code of ours.
 */
import { deepEqual, equal, ok, throws } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { adam, adamW, lamb } from "./adam.ts";
import { clipByGlobalNorm, clipByNorm, clipByValue } from "./clip.ts";
import { blockFloats, blocksOf, normOf, squaresOf } from "./norms.ts";
import { momentum, type Optimizer, sgd } from "./optimizer.ts";
import { cosine } from "./schedule.ts";

/** Floats of each tensor; the second one is longer than a block. */
const lengths = [32, blockFloats + 16, 16];
const tensors = lengths.map((length, index) => {
  const from = lengths.slice(0, index).reduce((sum, other) => sum + other, 0);
  return { from, to: from + length };
});
const floats = tensors.at(-1)!.to;
const steps = 20;
/** float32 keeps 7 digits, and errors add up over the steps. */
const relativeErrorMax = 2e-5;

const startAt = (i: number) => Math.fround(Math.sin(i * 1.7) * 0.5);
/** A made-up gradient that depends on the step; small in some tensors, large in others. */
const gradientAt = (step: number, i: number) =>
  Math.fround(Math.cos(i * 0.37 + step * 1.3) * (i < 32 ? 0.01 : 1) * (1 + (i % 7)));

/** One step on all tensors in double; `memory` is the reference's own, empty at first. */
type Reference = (
  p: number[][],
  g: readonly number[][],
  t: number,
  memory: Record<string, number[][]>,
) => void;

/** The reference's own array of this name, zeros at first. */
function kept(memory: Record<string, number[][]>, name: string, like: readonly number[][]) {
  memory[name] ??= like.map((one) => one.map(() => 0));
  return memory[name];
}
const norm = (values: readonly number[]) => Math.sqrt(values.reduce((sum, x) => sum + x * x, 0));

const momentumOf =
  (rate: number, mu: number, nesterov: boolean): Reference =>
  (p, g, _, memory) => {
    const b = kept(memory, "b", p);
    for (const [k, tensor] of p.entries())
      for (const i of tensor.keys()) {
        b[k]![i] = mu * b[k]![i]! + g[k]![i]!;
        tensor[i]! -= rate * (nesterov ? g[k]![i]! + mu * b[k]![i]! : b[k]![i]!);
      }
  };

/** m-hat / (sqrt(v-hat) + epsilon), element by element. */
function adamDirection(
  p: readonly number[][],
  g: readonly number[][],
  t: number,
  memory: Record<string, number[][]>,
  epsilon = 1e-8,
): number[][] {
  const [m, v] = [kept(memory, "m", p), kept(memory, "v", p)];
  return p.map((tensor, k) =>
    tensor.map((_, i) => {
      m[k]![i] = 0.9 * m[k]![i]! + 0.1 * g[k]![i]!;
      v[k]![i] = 0.999 * v[k]![i]! + 0.001 * g[k]![i]! ** 2;
      return m[k]![i]! / (1 - 0.9 ** t) / (Math.sqrt(v[k]![i]! / (1 - 0.999 ** t)) + epsilon);
    }),
  );
}

const adamOf =
  (rate: number, decay: number): Reference =>
  (p, g, t, memory) => {
    const direction = adamDirection(p, g, t, memory);
    for (const [k, tensor] of p.entries())
      for (const i of tensor.keys())
        tensor[i] = tensor[i]! - rate * decay * tensor[i]! - rate * direction[k]![i]!;
  };

const lambOf =
  (rate: number, decay: number): Reference =>
  (p, g, t, memory) => {
    const direction = adamDirection(p, g, t, memory, 1e-6);
    for (const [k, tensor] of p.entries()) {
      const r = tensor.map((x, i) => direction[k]![i]! + decay * x);
      const trust = norm(tensor) > 0 && norm(r) > 0 ? norm(tensor) / norm(r) : 1;
      for (const i of tensor.keys()) tensor[i]! -= rate * trust * r[i]!;
    }
  };

const scaled = (g: readonly number[][], by: (tensor: readonly number[]) => number) =>
  g.map((tensor) => {
    const factor = by(tensor);
    return tensor.map((x) => x * factor);
  });
const share = (limit: number, length: number) => Math.min(1, limit / (length + 1e-6));
const clipped =
  (reference: Reference, clip: (g: readonly number[][]) => number[][]): Reference =>
  (p, g, t, memory) =>
    reference(p, clip(g), t, memory);

const cases: Readonly<Record<string, readonly [Optimizer, Reference]>> = {
  SGD: [sgd({ learningRate: 0.1 }), momentumOf(0.1, 0, false)],
  momentum: [momentum({ learningRate: 0.01 }), momentumOf(0.01, 0.9, false)],
  Nesterov: [
    momentum({ learningRate: 0.01, momentum: 0.8, nesterov: true }),
    momentumOf(0.01, 0.8, true),
  ],
  Adam: [adam({ learningRate: 1e-3 }), adamOf(1e-3, 0)],
  AdamW: [adamW({ learningRate: 1e-3, weightDecay: 0.1 }), adamOf(1e-3, 0.1)],
  LAMB: [lamb({ learningRate: 0.01, weightDecay: 0.1 }), lambOf(0.01, 0.1)],
  "SGD clipped by value": [
    clipByValue(sgd({ learningRate: 0.1 }), 0.5),
    clipped(momentumOf(0.1, 0, false), (g) =>
      g.map((tensor) => tensor.map((x) => Math.max(-0.5, Math.min(0.5, x)))),
    ),
  ],
  "momentum clipped by the global norm": [
    clipByGlobalNorm(momentum({ learningRate: 0.1 }), 1),
    clipped(momentumOf(0.1, 0.9, false), (g) => scaled(g, () => share(1, norm(g.flat())))),
  ],
  "momentum clipped by each tensor's norm": [
    clipByNorm(momentum({ learningRate: 0.1 }), 1),
    clipped(momentumOf(0.1, 0.9, false), (g) => scaled(g, (tensor) => share(1, norm(tensor)))),
  ],
  "LAMB clipped by the global norm": [
    clipByGlobalNorm(lamb({ learningRate: 0.01 }), 2),
    clipped(lambOf(0.01, 0.01), (g) => scaled(g, () => share(2, norm(g.flat())))),
  ],
};

function trained(optimizer: Optimizer): Float32Array {
  const parameters = Float32Array.from({ length: floats }, (_, i) => startAt(i));
  const slots = Array.from({ length: optimizer.slotCount }, () => new Float32Array(floats));
  for (let step = 0; step < steps; step += 1) {
    const gradient = Float32Array.from({ length: floats }, (_, i) => gradientAt(step, i));
    optimizer.update({ step, parameters, slots, gradient, tensors });
  }
  return parameters;
}

for (const [name, [optimizer, reference]] of Object.entries(cases)) {
  test(`${name} follows its formula in double, within ${relativeErrorMax} after ${steps} steps`, () => {
    const split = (at: (i: number) => number) =>
      tensors.map(({ from, to }) => Array.from({ length: to - from }, (_, i) => at(from + i)));
    const p = split(startAt);
    const memory = {};
    for (let step = 0; step < steps; step += 1)
      reference(
        p,
        split((i) => gradientAt(step, i)),
        step + 1,
        memory,
      );
    const expected = p.flat();
    for (const [i, value] of trained(optimizer).entries()) {
      const error = Math.abs(value - expected[i]!);
      ok(
        error <= relativeErrorMax * Math.max(0.1, Math.abs(expected[i]!)),
        `${i}: off by ${error}`,
      );
    }
  });
}

test("a gradient within the limit has the bits of one that is not clipped", () => {
  for (const clip of [clipByGlobalNorm, clipByNorm, clipByValue]) {
    const optimizer = adam({ learningRate: 1e-3 });
    deepEqual(trained(clip(optimizer, 1e6)), trained(optimizer));
  }
});

test("a norm has the same bits whoever adds up which of its blocks", () => {
  const tensor = { from: 0, to: 5 * blockFloats + 48 };
  const at = (i: number) => Math.fround(Math.sin(i) * 10 ** (i % 9));
  const blocks = blocksOf(tensor);
  const whole = normOf([blocks.map((block) => squaresOf(block, at))]);
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), (workers) => {
      const shares = Array.from({ length: workers }, (_, worker) =>
        blocks.flatMap((block, index) =>
          index % workers === worker ? [[index, squaresOf(block, at)] as const] : [],
        ),
      );
      const gathered = new Map(shares.reverse().flat());
      equal(normOf([blocks.map((_, index) => gathered.get(index)!)]), whole);
    }),
  );
});

test("an identity names every setting", () => {
  const rate = cosine({ from: 0.1, steps: 100 });
  const made = clipByGlobalNorm(lamb({ learningRate: rate, weightDecay: 0.1 }), 2);
  const epsilon = Math.fround(1e-6);
  equal(made.identity, `clipByGlobalNorm(2,lamb(cosine(0.1,0,100),0.9,0.999,${epsilon},0.1))`);
});

test("settings that make no sense are refused in words", () => {
  throws(() => adam({ learningRate: 1, epsilon: 0 }), /program-invalid.*epsilon/);
  throws(() => clipByNorm(sgd({ learningRate: 1 }), -1), /program-invalid.*norm/);
  const own: Optimizer = { identity: "own", slotCount: 0, update: () => undefined };
  throws(() => clipByNorm(own, 1), /program-invalid.*own is no rule/);
});

test("a larger batch multiplies the rate, and nothing else", () => {
  const rates = (optimizer: Optimizer) => [
    optimizer.rule!.scalars(3),
    optimizer.rule!.scalars(3, 2),
  ];
  deepEqual(rates(sgd({ learningRate: 0.1 })), [[0.1], [0.2]]);
  deepEqual(rates(clipByValue(momentum({ learningRate: 0.1, momentum: 0.5 }), 1)), [
    [0.1, 0.5, 1, -1],
    [0.2, 0.5, 1, -1],
  ]);
  for (const [make, rate] of [
    [adamW, 4],
    [lamb, 8],
  ] as const) {
    const [one, two] = rates(make({ learningRate: 0.1, weightDecay: 0.1 })) as [number[], number[]];
    equal(two[rate], 2 * one[rate]!);
    deepEqual(two.slice(0, 4), one.slice(0, 4));
  }
});
