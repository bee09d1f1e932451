/** A small program on made-up data: fast to step, with momentum, dropout and a metric. */
import { accuracy, crossEntropy, defineProgram, momentum, tf } from "@coxswain/program";

const width = 8;
const classes = 4;

function split(samples, seed) {
  return {
    samples,
    batch: (indices) => {
      const inputs = new Float32Array(indices.length * width);
      const labels = new Float32Array(indices.length * classes);
      for (const [row, index] of indices.entries()) {
        for (let i = 0; i < width; i += 1)
          inputs[row * width + i] =
            ((((index + 1) * 2654435761 + i * 40503 + seed) >>> 7) % 1000) / 500 - 1;
        const sum = inputs[row * width] + inputs[row * width + 1];
        labels[row * classes + Math.min(3, Math.max(0, Math.floor(2 * sum + 2)))] = 1;
      }
      return { inputs, labels };
    },
  };
}

// biome-ignore lint/style/noDefaultExport: a program is the module's default.
export default defineProgram({
  data: async () => ({
    inputShape: [width],
    labelShape: [classes],
    train: split(640, 1),
    test: split(64, 99),
  }),
  model: ({ parameters }) =>
    tf.sequential({
      layers: [
        tf.layers.dense({
          inputShape: [width],
          units: Number(parameters.units ?? 32),
          activation: "relu",
        }),
        tf.layers.dropout({ rate: 0.1 }),
        tf.layers.dense({ units: classes }),
      ],
    }),
  loss: (labels, outputs) => {
    return crossEntropy(labels, outputs);
  },
  optimizer: ({ parameters }) =>
    momentum({ learningRate: Number(parameters.learningRate ?? 0.05), momentum: 0.9 }),
  metrics: { accuracy },
});
