/** The multi-layer perceptron of the peers' scripts: 784-512-256-10. */
import { accuracy, crossEntropy, defineProgram, mnist, momentum, tf } from "@coxswain/program";

// biome-ignore lint/style/noDefaultExport: a program is the default export of its module
export default defineProgram({
  data: mnist,
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.flatten({ inputShape: [28, 28, 1] }),
        tf.layers.dense({ units: 512, activation: "relu" }),
        tf.layers.dense({ units: 256, activation: "relu" }),
        tf.layers.dense({ units: 10 }),
      ],
    }),
  loss: crossEntropy,
  optimizer: () => momentum({ learningRate: 0.05, momentum: 0.9 }),
  metrics: { accuracy },
});
