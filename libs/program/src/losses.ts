/** Losses and metrics, one value per sample. */
import type { PerSample } from "./program.ts";
import { tf } from "./tf.ts";

/** -sum_c(label_c * logSoftmax(output)_c); outputs are logits, labels one-hot, both [samples, classes]. */
export const crossEntropy: PerSample = (labels, logits) =>
  tf.neg(tf.sum(tf.mul(labels, tf.logSoftmax(logits as never)), -1));

/** sum((output - label)^2) / 2 over all but the first axis. */
export const squaredError: PerSample = (labels, outputs) => {
  const difference = tf.reshape(tf.sub(outputs, labels), [labels.shape[0] ?? 1, -1]);
  return tf.mul(tf.sum(tf.square(difference), -1), 0.5);
};

/** 1 where the greatest output is the labelled class, else 0. */
export const accuracy: PerSample = (labels, outputs) =>
  tf.cast(tf.equal(tf.argMax(outputs, -1), tf.argMax(labels, -1)), "float32");
