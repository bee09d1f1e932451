/** Handwritten digits with a small convolutional network: 98.5 % after some epochs. */
import { accuracy, crossEntropy, defineProgram, mnist, momentum, tf } from "@coxswain/program";

export default defineProgram({
  data: mnist,
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.conv2d({
          inputShape: [28, 28, 1],
          filters: 32,
          kernelSize: 3,
          activation: "relu",
        }),
        tf.layers.conv2d({ filters: 64, kernelSize: 3, activation: "relu" }),
        tf.layers.maxPooling2d({ poolSize: 2, strides: 2 }),
        tf.layers.flatten(),
        tf.layers.dense({ units: 128, activation: "relu" }),
        tf.layers.dense({ units: 10 }),
      ],
    }),
  loss: crossEntropy,
  optimizer: ({ parameters }) =>
    momentum({ learningRate: Number(parameters["learningRate"] ?? 0.05), momentum: 0.9 }),
  metrics: { accuracy },
});
