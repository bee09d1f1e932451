/**
 * The transformer of the peers' scripts: an encoder of two blocks, width 128, four heads, inner width
 * 512, that says of each of 64 tokens which of 1000 comes next. The task is made up.
 */
import { defineProgram, momentum, type PerSample, type Tensor, tf } from "@coxswain/program";

const [vocabulary, length, width, heads, inner, samples] = [1000, 64, 128, 4, 512, 4096];

/** A linear congruential generator (Numerical Recipes): the same tokens in every process. */
function tokens(count: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
    return Math.floor((state / 2 ** 32) * vocabulary);
  });
}

const all = tokens(samples * length);

function batch(indices: readonly number[]) {
  const inputs = new Float32Array(indices.length * length);
  for (const [row, index] of indices.entries())
    inputs.set(all.subarray(index * length, (index + 1) * length), row * length);
  return { inputs, labels: inputs.map((token) => (token * 7 + 3) % vocabulary) };
}

/** Mean over the tokens of each sample; outputs shape [samples * length, vocabulary]. */
const tokenLoss: PerSample = (labels, outputs) => {
  const ids = tf.cast(tf.reshape(labels, [-1]), "int32");
  const wanted = tf.oneHot(ids as never, vocabulary);
  const losses = tf.neg(tf.sum(tf.mul(wanted, tf.logSoftmax(outputs as never)), -1));
  return tf.mean(tf.reshape(losses, [-1, length]), -1);
};

function layerNorm(x: Tensor, scale: Tensor, shift: Tensor): Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  const normed = tf.mul(tf.sub(x, mean), tf.rsqrt(tf.add(variance, 1e-5)));
  return tf.add(tf.mul(normed, scale), shift);
}

type Weights = Readonly<Record<string, Tensor>>;

function block(x: Tensor, w: Weights, name: string): Tensor {
  const of = (part: string) => w[`${name}${part}`] as never;
  const by = (input: Tensor, part: string) =>
    tf.add(tf.matMul(input as never, of(part)), of(`${part}Bias`)) as Tensor;
  const split = tf.reshape(by(x, "Qkv"), [-1, length, 3, heads, width / heads]);
  const [q, k, v] = tf.unstack(tf.transpose(split, [2, 0, 3, 1, 4])) as [Tensor, Tensor, Tensor];
  const scores = tf.softmax(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(width / heads)));
  const mixed = tf.reshape(tf.transpose(tf.matMul(scores, v), [0, 2, 1, 3]), [-1, width]);
  const y = layerNorm(tf.add(x, by(mixed, "Out")), of("Scale1"), of("Shift1"));
  return layerNorm(tf.add(y, by(tf.relu(by(y, "Up")), "Down")), of("Scale2"), of("Shift2"));
}

const blocks = ["first", "second"];

// biome-ignore lint/style/noDefaultExport: a program is the default export of its module
export default defineProgram({
  data: async () => {
    const train = { samples, batch };
    return { inputShape: [length], labelShape: [length], train, test: { samples: 64, batch } };
  },
  model: () => ({
    weights: ({ zeros, ones, glorotUniform }) => ({
      token: glorotUniform([vocabulary, width]),
      position: glorotUniform([length, width]),
      ...Object.fromEntries(
        blocks.flatMap((name) => [
          [`${name}Qkv`, glorotUniform([width, 3 * width])],
          [`${name}QkvBias`, zeros([3 * width])],
          [`${name}Out`, glorotUniform([width, width])],
          [`${name}OutBias`, zeros([width])],
          [`${name}Scale1`, ones([width])],
          [`${name}Shift1`, zeros([width])],
          [`${name}Up`, glorotUniform([width, inner])],
          [`${name}UpBias`, zeros([inner])],
          [`${name}Down`, glorotUniform([inner, width])],
          [`${name}DownBias`, zeros([width])],
          [`${name}Scale2`, ones([width])],
          [`${name}Shift2`, zeros([width])],
        ]),
      ),
      out: glorotUniform([width, vocabulary]),
      outBias: zeros([vocabulary]),
    }),
    forward: (w, inputs) => {
      const ids = tf.cast(inputs, "int32");
      const embedded = tf.add(tf.gather(w["token"] as Tensor, ids), w["position"] as Tensor);
      let x: Tensor = tf.reshape(embedded, [-1, width]);
      for (const name of blocks) x = block(x, w, name);
      return tf.add(tf.matMul(x as never, w["out"] as never), w["outBias"] as Tensor);
    },
  }),
  loss: tokenLoss,
  optimizer: () => momentum({ learningRate: 0.05, momentum: 0.9 }),
});
