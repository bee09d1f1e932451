// Three small models on made-up pictures, by `parameters.model`: quick, and with every kind of step.
import { accuracy, crossEntropy, defineProgram, sgd, tf } from "@coxswain/program";

const [side, classes, width, heads] = [12, 4, 16, 2];

function split(samples, seed) {
  return {
    samples,
    batch: (indices) => {
      const inputs = new Float32Array(indices.length * side * side);
      const labels = new Float32Array(indices.length * classes);
      for (const [row, index] of indices.entries()) {
        const label = index % classes;
        labels[row * classes + label] = 1;
        for (let i = 0; i < side * side; i += 1) {
          const noise = (((index + 1) * 2654435761 + i * 40503 + seed) >>> 7) % 1000;
          inputs[row * side * side + i] = noise / 1000 + ((i >> 3) % classes === label ? 0.5 : 0);
        }
      }
      return { inputs, labels };
    },
  };
}

const { layers, sequential } = tf;

const models = {
  mlp: () =>
    sequential({
      layers: [
        layers.flatten({ inputShape: [side, side, 1] }),
        layers.dense({ units: 24, activation: "tanh" }),
        layers.dropout({ rate: 0.2 }),
        layers.dense({ units: classes }),
      ],
    }),
  cnn: () =>
    sequential({
      layers: [
        layers.conv2d({
          ...{ inputShape: [side, side, 1], filters: 6, kernelSize: 3 },
          activation: "relu",
        }),
        layers.conv2d({ filters: 8, kernelSize: 3, activation: "relu" }),
        layers.maxPooling2d({ poolSize: 2, strides: 2 }),
        layers.flatten(),
        layers.dense({ units: classes }),
      ],
    }),
  "cnn with batch normalization": () =>
    sequential({
      layers: [
        layers.conv2d({ inputShape: [side, side, 1], filters: 6, kernelSize: 3, strides: 2 }),
        layers.batchNormalization({ momentum: 0.9 }),
        layers.activation({ activation: "relu" }),
        layers.flatten(),
        layers.dense({ units: classes }),
      ],
    }),
  transformer: () => ({
    weights: ({ ones, zeros, glorotUniform, heNormal }) => ({
      embed: glorotUniform([side, width]),
      position: glorotUniform([side, width]),
      scale: ones([width]),
      shift: zeros([width]),
      qkv: glorotUniform([width, 3 * width]),
      up: heNormal([width, 2 * width]),
      down: glorotUniform([2 * width, width]),
      logits: glorotUniform([width, classes]),
    }),
    forward: (w, inputs, { dropout }) => {
      const by = (x, weight) => {
        const [samples, rows, from] = x.shape;
        const product = tf.matMul(tf.reshape(x, [samples * rows, from]), weight);
        return tf.reshape(product, [samples, rows, weight.shape[1]]);
      };
      const norm = (x) => {
        const { mean, variance } = tf.moments(x, -1, true);
        const normed = tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-5)));
        return tf.add(tf.mul(normed, w.scale), w.shift);
      };
      const attention = (x) => {
        const parts = tf.reshape(by(x, w.qkv), [-1, side, 3, heads, width / heads]);
        const [q, k, v] = tf.unstack(tf.transpose(parts, [2, 0, 3, 1, 4]));
        const scores = tf.softmax(tf.mul(tf.matMul(q, k, false, true), Math.sqrt(heads / width)));
        const mixed = tf.transpose(tf.matMul(scores, v), [0, 2, 1, 3]);
        return tf.reshape(mixed, [-1, side, width]);
      };
      let x = tf.add(by(tf.reshape(inputs, [-1, side, side]), w.embed), w.position);
      x = tf.add(x, dropout(attention(norm(x)), 0.1));
      x = tf.add(x, by(tf.relu(by(norm(x), w.up)), w.down));
      return tf.matMul(tf.mean(x, 1), w.logits);
    },
  }),
};

export default defineProgram({
  data: async () => ({
    inputShape: [side, side, 1],
    labelShape: [classes],
    train: split(512, 1),
    test: split(64, 99),
  }),
  model: ({ parameters }) => models[parameters.model](),
  loss: crossEntropy,
  optimizer: sgd({ learningRate: 0.1 }),
  metrics: { accuracy },
});
