/** What models are made of, each in a few lines: for tests that compare its gradients. */
import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { temporaryFolder } from "./testing.ts";

export interface Model {
  readonly weights?: Readonly<Record<string, readonly number[]>>;
  /** Of w (weights) and x, shape [4, 6, 8]; gives [4, 3]. */
  readonly forward?: string;
  /** Instead: layers from [4, 6, 8]; a dense one to [4, 3] is added. */
  readonly layers?: string;
  /** The same in PyTorch: from w and x to h. Without randomness only. */
  readonly torch?: string;
  /** An operator is in the way of computing several shards at once. */
  readonly isOneByOne?: true;
  /** Greatest difference between recorded and eager, as a part of the greatest value; else none. */
  readonly relativeError?: number;
}

const head = { out: [8, 3] };
const pooled = (x: string) => `tf.matMul(tf.mean(${x}, 1), w.out)`;
export const models: Readonly<Record<string, Model>> = {
  "layer norm": {
    weights: { scale: [8], shift: [8], ...head },
    torch: `h = F.layer_norm(x, [8], w["scale"], w["shift"], 1e-3).mean(1) @ w["out"]`,
    forward: `const { mean, variance } = tf.moments(x, -1, true);
      const n = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-3)));
      return ${pooled("tf.add(tf.mul(n, w.scale), w.shift)")};`,
  },
  "batch norm by the batch's own statistics": {
    isOneByOne: true,
    weights: { scale: [8], shift: [8], ...head },
    torch: `flat = x.reshape(24, 8)
n = F.batch_norm(flat, None, None, w["scale"], w["shift"], True, 0.0, 1e-3)
h = n.reshape(4, 6, 8).mean(1) @ w["out"]`,
    forward: `const { mean, variance } = tf.moments(x, [0, 1]);
      return ${pooled("tf.batchNorm(x, mean, variance, w.shift, w.scale, 1e-3)")};`,
  },
  "an embedding, some rows of which are looked up often and some never": {
    weights: { table: [5, 8], ...head },
    torch: `ids = torch.floor(x[:, :, 0].abs() * 4).long()
h = F.embedding(ids, w["table"]).mean(1) @ w["out"]`,
    forward: `const ids = tf.cast(tf.floor(tf.mul(tf.abs(tf.slice(x, [0, 0, 0], [4, 6, 1])), 4)), "int32");
      return ${pooled("tf.gather(w.table, tf.reshape(ids, [4, 6]))")};`,
  },
  // oneDNN takes other ways in graphs than in operators; each way repeats its own bits.
  attention: {
    relativeError: 1e-6,
    weights: { query: [8, 8], key: [8, 8], value: [8, 8], ...head },
    torch: `a = torch.softmax((x @ w["query"]) @ (x @ w["key"]).transpose(1, 2) * 0.35, -1)
h = (a @ (x @ w["value"])).mean(1) @ w["out"]`,
    forward: `const by = (m) => tf.reshape(tf.matMul(tf.reshape(x, [24, 8]), m), [4, 6, 8]);
      const scores = tf.softmax(tf.mul(tf.matMul(by(w.query), by(w.key), false, true), 0.35));
      return ${pooled("tf.matMul(scores, by(w.value))")};`,
  },
  "convolutions and pooling": {
    isOneByOne: true,
    weights: { filter: [3, 3, 1, 4], wide: [3, 3, 4, 8], ...head },
    torch: `def conv(y, f): return torch.tanh(F.conv2d(y, f.permute(3, 2, 0, 1), padding=1))
y = F.avg_pool2d(conv(x.reshape(4, 1, 6, 8), w["filter"]), 2)
h = conv(y, w["wide"]).mean((2, 3)) @ w["out"]`,
    forward: `let y = tf.tanh(tf.conv2d(tf.reshape(x, [4, 6, 8, 1]), w.filter, 1, "same"));
      y = tf.tanh(tf.conv2d(tf.avgPool(y, 2, 2, "valid"), w.wide, 1, "same"));
      return tf.matMul(tf.mean(y, [1, 2]), w.out);`,
  },
  "a recurrent cell over six steps": {
    weights: { input: [8, 32], state: [8, 32], bias: [32], ...head },
    torch: `cell = [torch.zeros(4, 8, dtype=x.dtype), torch.zeros(4, 8, dtype=x.dtype)]
for t in range(6):
    i, f, g, o = (x[:, t] @ w["input"] + cell[0] @ w["state"] + w["bias"]).chunk(4, 1)
    c = torch.sigmoid(f) * cell[1] + torch.sigmoid(i) * torch.tanh(g)
    cell = [torch.sigmoid(o) * torch.tanh(c), c]
h = cell[0] @ w["out"]`,
    forward: `let [h, c] = [tf.zeros([4, 8]), tf.zeros([4, 8])];
      for (const at of tf.unstack(x, 1)) {
        const [i, f, g, o] = tf.split(tf.add(tf.add(tf.matMul(at, w.input), tf.matMul(h, w.state)), w.bias), 4, 1);
        c = tf.add(tf.mul(tf.sigmoid(f), c), tf.mul(tf.sigmoid(i), tf.tanh(g)));
        h = tf.mul(tf.sigmoid(o), tf.tanh(c));
      }
      return tf.matMul(h, w.out);`,
  },
  "sums of rows by number, after a dimension is added": {
    isOneByOne: true,
    weights: { scale: [8], ...head },
    forward: `const rows = tf.reshape(tf.mul(x, w.scale), [24, 8]);
      const numbers = tf.tensor1d(Array.from({ length: 24 }, (_, i) => i % 4), "int32");
      const sums = tf.expandDims(tf.unsortedSegmentSum(rows, numbers, 4), 1);
      return ${pooled("sums")};`,
  },
  "layers: LSTM": { layers: "tf.layers.lstm({ inputShape: [6, 8], units: 5 })" },
  "layers: GRU, both ways": {
    layers: `tf.layers.bidirectional({ inputShape: [6, 8], layer: tf.layers.gru({ units: 4 }) })`,
  },
  "layers: embedding": {
    layers: `tf.layers.flatten({ inputShape: [6, 8] }), tf.layers.embedding({ inputDim: 4, outputDim: 3 }), tf.layers.flatten()`,
  },
  "layers: depthwise and separable convolutions, batch norm": {
    isOneByOne: true,
    layers: `tf.layers.reshape({ inputShape: [6, 8], targetShape: [6, 8, 1] }), tf.layers.conv2d({ filters: 3, kernelSize: 3, padding: "same" }), tf.layers.batchNormalization(), tf.layers.depthwiseConv2d({ kernelSize: 3, activation: "tanh" }), tf.layers.separableConv2d({ filters: 4, kernelSize: 2 }), tf.layers.flatten()`,
  },
  "layers: transposed convolution with strides, normed by layer": {
    isOneByOne: true,
    layers: `tf.layers.reshape({ inputShape: [6, 8], targetShape: [6, 8, 1] }), tf.layers.conv2dTranspose({ filters: 2, kernelSize: 3, strides: 2 }), tf.layers.flatten(), tf.layers.layerNormalization()`,
  },
  "dropout and ReLU": {
    weights: { hidden: [8, 8], ...head },
    forward: `const y = tf.relu(tf.matMul(tf.reshape(x, [24, 8]), w.hidden));
      return ${pooled("tf.reshape(context.dropout(y, 0.25), [4, 6, 8])")};`,
  },
};

/** A program of that model, on made-up data. */
export async function writeProgram(t: TestContext, model: Model): Promise<string> {
  const { weights = {}, forward, layers } = model;
  const path = join(await temporaryFolder(t), "program.mjs");
  const ofFunctions = `({
    weights: ({ glorotUniform, ones }) => Object.fromEntries(Object.entries(${JSON.stringify(weights)})
      .map(([name, shape]) => [name, shape.length === 1 ? ones(shape) : glorotUniform(shape)])),
    forward: (w, x, context) => { ${forward} },
  })`;
  const source = `
import { crossEntropy, defineProgram, sgd, tf } from "@coxswain/program";
const value = (i) => Math.${layers === undefined ? "sin(i * 12.9898)" : "abs(Math.sin(i * 12.9898))"};
const batch = (indices) => ({
  inputs: Float32Array.from({ length: indices.length * 48 }, (_, i) => value(i + 7 * indices[0])),
  labels: Float32Array.from({ length: indices.length * 3 }, (_, i) => (i % 3 === Math.floor(i / 3) % 3 ? 1 : 0)),
});
const split = { samples: 16, batch };
export default defineProgram({
  data: async () => ({ inputShape: [6, 8], labelShape: [3], train: split, test: { samples: 4, batch } }),
  model: () => ${layers === undefined ? ofFunctions : `tf.sequential({ layers: [${layers}, tf.layers.dense({ units: 3 })] })`},
  loss: crossEntropy,
  optimizer: sgd({ learningRate: 0.1 }),
});
`;
  await writeFile(path, source);
  return path;
}

export const modelOptions = { data: "made-up", batchSize: 4, shards: 1, seed: 3, parameters: {} };
