/** Handwritten digits, read row by row by a small transformer: one block of four heads. */
import {
  accuracy,
  adam,
  crossEntropy,
  defineProgram,
  mnist,
  type Tensor,
  tf,
} from "@coxswain/program";

const [rows, columns, width, heads] = [28, 28, 64, 4];

/** x shape [samples, rows, width] */
function layerNorm(x: Tensor, scale: Tensor, shift: Tensor): Tensor {
  const { mean, variance } = tf.moments(x, -1, true);
  return tf.add(tf.mul(tf.div(tf.sub(x, mean), tf.sqrt(tf.add(variance, 1e-5))), scale), shift);
}

/** x shape [samples, rows, from], w shape [from, to] */
function linear(x: Tensor, w: Tensor, b: Tensor): Tensor {
  const [samples, , from] = x.shape as [number, number, number];
  const flat = tf.matMul(tf.reshape(x, [samples * rows, from]), w as never);
  return tf.add(tf.reshape(flat, [samples, rows, -1]), b);
}

/** qkv shape [samples, rows, 3 * width] */
function attention(qkv: Tensor): Tensor {
  const samples = qkv.shape[0]!;
  const split = tf.transpose(
    tf.reshape(qkv, [samples, rows, 3, heads, width / heads]),
    [2, 0, 3, 1, 4],
  );
  const [q, k, v] = tf.unstack(split) as [Tensor, Tensor, Tensor];
  const scores = tf.softmax(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(width / heads)));
  return tf.reshape(tf.transpose(tf.matMul(scores, v), [0, 2, 1, 3]), [samples, rows, width]);
}

export default defineProgram({
  data: mnist,
  model: () => ({
    weights: ({ zeros, ones, glorotUniform }) => ({
      embed: glorotUniform([columns, width]),
      position: zeros([rows, width]),
      scale1: ones([width]),
      shift1: zeros([width]),
      qkv: glorotUniform([width, 3 * width]),
      qkvBias: zeros([3 * width]),
      out: glorotUniform([width, width]),
      outBias: zeros([width]),
      scale2: ones([width]),
      shift2: zeros([width]),
      up: glorotUniform([width, 4 * width]),
      upBias: zeros([4 * width]),
      down: glorotUniform([4 * width, width]),
      downBias: zeros([width]),
      logits: glorotUniform([width, 10]),
      logitsBias: zeros([10]),
    }),
    forward: (w, inputs, { dropout }) => {
      const of = (name: string) => w[name] as Tensor;
      let x = linear(tf.reshape(inputs, [-1, rows, columns]), of("embed"), of("position"));
      const normed = layerNorm(x, of("scale1"), of("shift1"));
      const mixed = attention(linear(normed, of("qkv"), of("qkvBias")));
      x = tf.add(x, dropout(linear(mixed, of("out"), of("outBias")), 0.1));
      const hidden = tf.relu(
        linear(layerNorm(x, of("scale2"), of("shift2")), of("up"), of("upBias")),
      );
      x = tf.add(x, dropout(linear(hidden, of("down"), of("downBias")), 0.1));
      return tf.add(tf.matMul(tf.mean(x, 1), of("logits") as never), of("logitsBias"));
    },
  }),
  loss: crossEntropy,
  optimizer: adam({ learningRate: 1e-3 }),
  metrics: { accuracy },
});
