/**
 * Made-up pictures of 64 x 64 x 3 floats, 49 KB each: `made-up:N` are N of them, to be packed; anything
 * else is a dataset in record files. `parameters.model` is `light`, which hardly computes, or `conv`.
 */
import {
  accuracy,
  crossEntropy,
  defineProgram,
  momentum,
  records,
  type StreamedDataset,
  tf,
} from "@coxswain/program";

const inputShape = [64, 64, 3];
const inputFloats = 64 * 64 * 3;
const classes = 10;
const testSamples = 64;

/** Written fast, and no two alike. */
function pictures(seed: number, samples: number) {
  return {
    samples,
    read: async (indices: readonly number[]) => {
      const inputs = new Float32Array(indices.length * inputFloats);
      const labels = new Float32Array(indices.length * classes);
      for (const [row, index] of indices.entries()) {
        let state = (index * 2_654_435_761 + seed) >>> 0;
        for (let i = row * inputFloats; i < (row + 1) * inputFloats; i += 1) {
          state = (Math.imul(state, 1_664_525) + 1_013_904_223) >>> 0;
          inputs[i] = state / 4_294_967_296;
        }
        labels[row * classes + (index % classes)] = 1;
      }
      return { inputs, labels };
    },
  };
}

async function data(source: string): Promise<StreamedDataset> {
  const samples = /^made-up:(\d+)$/.exec(source)?.[1];
  if (samples === undefined) return records(source);
  const train = pictures(1, Number(samples));
  return { inputShape, labelShape: [classes], train, test: pictures(2, testSamples) };
}

const layers = {
  light: () => [
    tf.layers.averagePooling2d({ inputShape: [64, 64, 3], poolSize: 8, strides: 8 }),
    tf.layers.flatten(),
  ],
  conv: () => [
    tf.layers.conv2d({ inputShape: [64, 64, 3], filters: 16, kernelSize: 3, activation: "relu" }),
    tf.layers.maxPooling2d({ poolSize: 4, strides: 4 }),
    tf.layers.flatten(),
  ],
};

// biome-ignore lint/style/noDefaultExport: a program is the default export of its module
export default defineProgram({
  data,
  model: ({ parameters }) =>
    tf.sequential({
      layers: [
        ...layers[parameters["model"] === "conv" ? "conv" : "light"](),
        tf.layers.dense({ units: classes }),
      ],
    }),
  loss: crossEntropy,
  optimizer: () => momentum({ learningRate: 0.01, momentum: 0.9 }),
  metrics: { accuracy },
});
