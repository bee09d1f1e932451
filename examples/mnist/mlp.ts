/** Handwritten digits with a multi-layer perceptron: 98 % after three epochs. */
import { accuracy, crossEntropy, defineProgram, mnist, momentum, tf } from "@coxswain/program";

export default defineProgram({
  data: mnist,
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.flatten({ inputShape: [28, 28, 1] }),
        tf.layers.dense({ units: 256, activation: "relu", name: "hidden1" }),
        tf.layers.dense({ units: 128, activation: "relu", name: "hidden2" }),
        tf.layers.dense({ units: 10, name: "logits" }),
      ],
    }),
  loss: crossEntropy,
  optimizer: ({ parameters }) =>
    momentum({ learningRate: Number(parameters["learningRate"] ?? 0.1), momentum: 0.9 }),
  metrics: { accuracy },
});
