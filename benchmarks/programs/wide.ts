/** A perceptron of any size: `parameters.units` is the width of its two hidden layers. */
import { accuracy, crossEntropy, defineProgram, mnist, momentum, tf } from "@coxswain/program";

// biome-ignore lint/style/noDefaultExport: a program is the default export of its module
export default defineProgram({
  data: mnist,
  model: ({ parameters }) => {
    const units = Number(parameters["units"] ?? 512);
    return tf.sequential({
      layers: [
        tf.layers.flatten({ inputShape: [28, 28, 1] }),
        tf.layers.dense({ units, activation: "relu" }),
        tf.layers.dense({ units, activation: "relu" }),
        tf.layers.dense({ units: 10 }),
      ],
    });
  },
  loss: crossEntropy,
  optimizer: () => momentum({ learningRate: 0.01, momentum: 0.9 }),
  metrics: { accuracy },
});
