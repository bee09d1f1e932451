/** What engines are measured with: a perceptron of MNIST's shape on made-up images. */
import { crossEntropy, defineProgram, type Split, sgd, tf } from "@coxswain/program";

const pixels = 784;
const classes = 10;

/** Values that look like nothing, from an index. */
const noise = (index: number) => ((Math.imul(index + 1, 2_654_435_761) >>> 8) % 1000) / 1000;

function madeUp(samples: number): Split {
  return {
    samples,
    batch: (indices) => {
      const inputs = new Float32Array(indices.length * pixels);
      const labels = new Float32Array(indices.length * classes);
      for (const [row, index] of indices.entries()) {
        for (let i = 0; i < pixels; i += 1) inputs[row * pixels + i] = noise(index * pixels + i);
        labels[row * classes + (index % classes)] = 1;
      }
      return { inputs, labels };
    },
  };
}

// biome-ignore lint/style/noDefaultExport: what a program is.
export default defineProgram({
  data: () =>
    Promise.resolve({
      inputShape: [pixels],
      labelShape: [classes],
      train: madeUp(512),
      test: madeUp(64),
    }),
  model: () =>
    tf.sequential({
      layers: [
        tf.layers.dense({ inputShape: [pixels], units: 256, activation: "relu" }),
        tf.layers.dense({ units: 128, activation: "relu" }),
        tf.layers.dense({ units: classes }),
      ],
    }),
  loss: crossEntropy,
  optimizer: () => sgd({ learningRate: 0.01 }),
});
