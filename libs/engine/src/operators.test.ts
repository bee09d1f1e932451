/**
 * What models are made of, on each engine that is installed: the gradient against finite differences,
 * and a recorded step against the step operator by operator.
 */
import { equal, ok } from "node:assert/strict";
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { availableEngines, canRecord, openEngine } from "./open-engine.ts";
import type { CompiledProgram, Engine } from "./port.ts";
import { gradientOf, parametersOf, temporaryFolder } from "./testing.ts";

interface Model {
  readonly weights: Readonly<Record<string, readonly number[]>>;
  /** Of w (weights) and x, shape [4, 6, 8]; gives [4, 3]. */
  readonly forward: string;
  /** Greatest difference between recorded and eager, as a part of the greatest value; else none. */
  readonly relativeError?: number;
}

const head = { out: [8, 3] };
const pooled = (x: string) => `tf.matMul(tf.mean(${x}, 1), w.out)`;
const models: Readonly<Record<string, Model>> = {
  "layer norm": {
    weights: { scale: [8], shift: [8], ...head },
    forward: `const { mean, variance } = tf.moments(x, -1, true);
      const n = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-3)));
      return ${pooled("tf.add(tf.mul(n, w.scale), w.shift)")};`,
  },
  "batch norm by the batch's own statistics": {
    weights: { scale: [8], shift: [8], ...head },
    forward: `const { mean, variance } = tf.moments(x, [0, 1]);
      return ${pooled("tf.batchNorm(x, mean, variance, w.shift, w.scale, 1e-3)")};`,
  },
  "an embedding, some rows of which are looked up often and some never": {
    weights: { table: [5, 8], ...head },
    forward: `const ids = tf.cast(tf.floor(tf.mul(tf.abs(tf.slice(x, [0, 0, 0], [4, 6, 1])), 4)), "int32");
      return ${pooled("tf.gather(w.table, tf.reshape(ids, [4, 6]))")};`,
  },
  // oneDNN takes other ways in graphs than in operators; each way repeats its own bits.
  attention: {
    relativeError: 1e-6,
    weights: { query: [8, 8], key: [8, 8], value: [8, 8], ...head },
    forward: `const by = (m) => tf.reshape(tf.matMul(tf.reshape(x, [24, 8]), m), [4, 6, 8]);
      const scores = tf.softmax(tf.mul(tf.matMul(by(w.query), by(w.key), false, true), 0.35));
      return ${pooled("tf.matMul(scores, by(w.value))")};`,
  },
  "convolutions and pooling": {
    weights: { filter: [3, 3, 1, 4], wide: [3, 3, 4, 8], ...head },
    forward: `let y = tf.tanh(tf.conv2d(tf.reshape(x, [4, 6, 8, 1]), w.filter, 1, "same"));
      y = tf.tanh(tf.conv2d(tf.avgPool(y, 2, 2, "valid"), w.wide, 1, "same"));
      return tf.matMul(tf.mean(y, [1, 2]), w.out);`,
  },
  "a recurrent cell over six steps": {
    weights: { input: [8, 32], state: [8, 32], bias: [32], ...head },
    forward: `let [h, c] = [tf.zeros([4, 8]), tf.zeros([4, 8])];
      for (const at of tf.unstack(x, 1)) {
        const [i, f, g, o] = tf.split(tf.add(tf.add(tf.matMul(at, w.input), tf.matMul(h, w.state)), w.bias), 4, 1);
        c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
        h = tf.mul(tf.sigmoid(o), tf.tanh(c));
      }
      return tf.matMul(h, w.out);`,
  },
  "dropout and ReLU": {
    weights: { hidden: [8, 8], ...head },
    forward: `const y = tf.relu(tf.matMul(tf.reshape(x, [24, 8]), w.hidden));
      return ${pooled("tf.reshape(context.dropout(y, 0.25), [4, 6, 8])")};`,
  },
};

async function writeProgram(t: TestContext, { weights, forward }: Model): Promise<string> {
  const path = join(await temporaryFolder(t), "program.mjs");
  const source = `
import { crossEntropy, defineProgram, sgd, tf } from "@coxswain/program";
const value = (i) => Math.sin(i * 12.9898) ;
const batch = (indices) => ({
  inputs: Float32Array.from({ length: indices.length * 48 }, (_, i) => value(i + 7 * indices[0])),
  labels: Float32Array.from({ length: indices.length * 3 }, (_, i) => (i % 3 === Math.floor(i / 3) % 3 ? 1 : 0)),
});
const split = { samples: 8, batch };
export default defineProgram({
  data: async () => ({ inputShape: [6, 8], labelShape: [3], train: split, test: { samples: 4, batch } }),
  model: () => ({
    weights: ({ glorotUniform, ones }) => Object.fromEntries(Object.entries(${JSON.stringify(weights)})
      .map(([name, shape]) => [name, shape.length === 1 ? ones(shape) : glorotUniform(shape)])),
    forward: (w, x, context) => { ${forward} },
  }),
  loss: crossEntropy,
  optimizer: sgd({ learningRate: 0.1 }),
});
`;
  await writeFile(path, source);
  return path;
}

const options = { data: "made-up", batchSize: 4, shards: 1, seed: 3, parameters: {} };
const shift = 1e-2;

/** Central differences at a few places of each weight; those that a kink lies near are few. */
function checkSlopes(program: CompiledProgram, parameters: Float32Array, gradient: Float32Array) {
  const { parameterFloats, segments } = program.layout;
  const lossAt = (at: number, by: number) => {
    const moved = parameters.slice();
    moved[at]! += by;
    // A program keeps a step's parameters; an evaluation between makes it look again.
    program.evaluate(moved, 0, 1);
    return gradientOf(program, moved, 0, 0)[parameterFloats]!;
  };
  for (const { name, offset, size } of segments)
    for (const share of [0, 0.4, 0.9]) {
      const at = offset + Math.floor(size * share);
      const slope = (lossAt(at, shift) - lossAt(at, -shift)) / (2 * shift);
      const error = Math.abs(slope - gradient[at]!);
      ok(error < 2e-3 + 0.02 * Math.abs(slope), `${name}: ${slope} against ${gradient[at]}`);
    }
}

function testModel(engine: Engine, name: string, model: Model): void {
  test(`${engine.identity.name}: ${name}`, async (t) => {
    const programPath = await writeProgram(t, model);
    const program = await engine.compile({ ...options, programPath });
    const parameters = parametersOf(program);
    const gradient = gradientOf(program, parameters, 0, 0);
    ok(gradient.every(Number.isFinite));
    checkSlopes(program, parameters, gradient);
    if (!canRecord(engine.identity.name)) return;
    equal(program.mode, "recorded");
    const eager = await engine.compile({ ...options, programPath }, "eager");
    const byOperators = gradientOf(eager, parameters, 0, 0);
    const difference = Math.max(...gradient.map((value, i) => Math.abs(value - byOperators[i]!)));
    const scale = Math.max(...byOperators.map(Math.abs));
    t.diagnostic(
      `recorded against operator by operator: ${difference / scale} of the greatest value`,
    );
    if (model.relativeError === undefined) ok(difference === 0, `differs by ${difference}`);
    else ok(difference <= model.relativeError * scale);
  });
}

const cacheDir = process.env["COXSWAIN_CACHE_DIR"] ?? "";
const engineName =
  process.env["COXSWAIN_TEST_ENGINE"] ?? (await availableEngines({ cacheDir }))[0]!.name;
const engine = await openEngine(engineName, { cacheDir });
for (const [name, model] of Object.entries(models)) testModel(engine, name, model);
