/**
 * Kernels that TensorFlow.js's wasm back end lacks or does slowly, composed from those it has.
 *
 * - Matrix products with a transposed operand run six times faster after an explicit transpose.
 * - The back end's own gradient of max pooling goes astray in windows without a positive value
 *   (4.22); ours gives it to the first greatest value of each window, as TensorFlow does.
 * - The filter gradient of a convolution is one matrix product per place in the filter.
 * - The back end copies what it is asked to clone, and each tensor that a gradient needs is; ours counts.
 * - Whatever else is missing (depthwise convolutions' gradients, an embedding's, einsum) is computed in
 *   plain JavaScript, or refused by its name.
 */
import { createRequire } from "node:module";
import { AppError } from "@coxswain/domain";
import { type Tensor, tf } from "@coxswain/program";
import { runPlain } from "./plain-kernels.ts";

type KernelInput = Readonly<Record<string, Tensor>>;
type KernelAttributes = Readonly<Record<string, unknown>>;
type Kernel = (call: { inputs: KernelInput; attrs: KernelAttributes; backend: unknown }) => unknown;

const backendName = "wasm";

export function installWasmKernels(): void {
  wrapMatMul("BatchMatMul");
  wrapMatMul("_FusedMatMul");
  tf.registerKernel({
    kernelName: "Conv2DBackpropFilter",
    backendName,
    kernelFunc: conv2dFilterGradient as never,
  });
  tf.unregisterKernel("Identity", backendName);
  tf.registerKernel({ kernelName: "Identity", backendName, kernelFunc: identity as never });
  tf.unregisterKernel("MaxPoolGrad", backendName);
  tf.registerKernel({
    kernelName: "MaxPoolGrad",
    backendName,
    kernelFunc: maxPoolGradient as never,
  });
  for (const kernelName of missingKernels())
    tf.registerKernel({
      kernelName,
      backendName,
      kernelFunc: ((call: Parameters<Kernel>[0]) =>
        runPlain(kernelName, call.backend as never, call)) as never,
    });
}

/** The same memory once more: no kernel writes to what it is given. */
const identity: Kernel = ({ inputs, backend }) => {
  const { dataId, shape, dtype } = inputs["x"]!;
  (backend as { incRef(id: object): void }).incRef(dataId);
  return { dataId, shape, dtype };
};

/** TensorFlow.js's core exports the name of each kernel. */
function missingKernels(): string[] {
  const core = createRequire(import.meta.url)("@tensorflow/tfjs-core") as Record<string, unknown>;
  return Object.entries(core).flatMap(([key, name]) =>
    typeof name === "string" &&
    /^_?[A-Z][A-Za-z0-9]+$/.test(key) &&
    !tf.getKernel(name, backendName)
      ? [name]
      : [],
  );
}

function wrapMatMul(kernelName: string): void {
  const original = tf.getKernel(kernelName, backendName).kernelFunc as unknown as Kernel;
  tf.unregisterKernel(kernelName, backendName);
  const kernelFunc: Kernel = (call) => {
    const { transposeA, transposeB } = call.attrs;
    if (!transposeA && !transposeB) return original(call);
    const a = transposeA ? transposeLastTwo(call.inputs["a"]!) : call.inputs["a"]!;
    const b = transposeB ? transposeLastTwo(call.inputs["b"]!) : call.inputs["b"]!;
    const inputs = { ...call.inputs, a, b };
    const product = original({
      ...call,
      inputs,
      attrs: { ...call.attrs, transposeA: false, transposeB: false },
    });
    if (transposeA) a.dispose();
    if (transposeB) b.dispose();
    return product;
  };
  tf.registerKernel({ kernelName, backendName, kernelFunc: kernelFunc as never });
}

function transposeLastTwo(tensor: Tensor): Tensor {
  const axes = tensor.shape.map((_, axis) => axis);
  axes.push(...axes.splice(-2).reverse());
  return tf.transpose(tensor, axes);
}

/**
 * dFilter[i, j] = patches(i, j)^T * dy, for each place (i, j) of the filter, where patches(i, j) are
 * the inputs that this place of the filter met. Shapes: x [n, h, w, in], dy [n, h', w', out],
 * dFilter [fh, fw, in, out].
 */
const conv2dFilterGradient: Kernel = ({ inputs, attrs }) => {
  const [x, dy] = [inputs["x"] as never, inputs["dy"]!];
  const filterShape = attrs["filterShape"] as [number, number, number, number];
  const dataFormat = (attrs["dataFormat"] ?? "NHWC") as string;
  if (dataFormat !== "NHWC")
    throw new AppError(
      "program-threw",
      `the wasm engine derives convolutions in NHWC only, not ${dataFormat}`,
    );
  const info = tf.backend_util.computeConv2DInfo(
    (x as Tensor).shape as never,
    filterShape,
    attrs["strides"] as never,
    1,
    attrs["pad"] as never,
    attrs["dimRoundingMode"] as never,
  );
  return tf.tidy(() => {
    const {
      padInfo: pad,
      strideHeight,
      strideWidth,
      outHeight,
      outWidth,
      inChannels,
      outChannels,
      batchSize,
    } = info;
    const padded = tf.pad(x, [
      [0, 0],
      [pad.top, pad.bottom],
      [pad.left, pad.right],
      [0, 0],
    ]);
    const rows = batchSize * outHeight * outWidth;
    const flat = tf.reshape(dy, [rows, outChannels]);
    const places: Tensor[] = [];
    for (let i = 0; i < filterShape[0]; i += 1) {
      for (let j = 0; j < filterShape[1]; j += 1) {
        const end = [
          batchSize,
          i + (outHeight - 1) * strideHeight + 1,
          j + (outWidth - 1) * strideWidth + 1,
          inChannels,
        ];
        const met = tf.stridedSlice(padded, [0, i, j, 0], end, [1, strideHeight, strideWidth, 1]);
        places.push(tf.matMul(tf.reshape(met, [rows, inChannels]), flat as never, true));
      }
    }
    return tf.reshape(tf.stack(places), filterShape);
  });
};

/** dx gets dy at the first greatest value of each window. Shapes: x, dx [n, h, w, c]; dy [n, h', w', c]. */
const maxPoolGradient: Kernel = ({ inputs, attrs }) => {
  const [x, dy] = [inputs["input"]!, inputs["dy"]!];
  const { filterSize, strides, pad, dimRoundingMode } = attrs;
  const info = tf.backend_util.computePool2DInfo(
    x.shape as never,
    filterSize as never,
    strides as never,
    1,
    pad as never,
    dimRoundingMode as never,
  );
  const values = tf.engine().readSync(x.dataId) as Float32Array;
  const incoming = tf.engine().readSync(dy.dataId) as Float32Array;
  const gradient = new Float32Array(values.length);
  for (let place = 0; place < incoming.length; place += 1) {
    gradient[greatestOf(values, place, info)]! += incoming[place]!;
  }
  return tf.tensor(gradient, x.shape, "float32");
};

/** Where in x the first greatest value of the window of output element `place` lies. */
function greatestOf(
  values: Float32Array,
  place: number,
  info: ReturnType<typeof tf.backend_util.computePool2DInfo>,
): number {
  const { outHeight, outWidth, inHeight, inWidth, inChannels: channels } = info;
  const channel = place % channels;
  const column = Math.floor(place / channels) % outWidth;
  const row = Math.floor(place / (channels * outWidth)) % outHeight;
  const sample = Math.floor(place / (channels * outWidth * outHeight));
  const top = row * info.strideHeight - info.padInfo.top;
  const left = column * info.strideWidth - info.padInfo.left;
  let best = -1;
  for (let y = Math.max(0, top); y < Math.min(inHeight, top + info.filterHeight); y += 1) {
    for (let x = Math.max(0, left); x < Math.min(inWidth, left + info.filterWidth); x += 1) {
      const at = ((sample * inHeight + y) * inWidth + x) * channels + channel;
      if (best < 0 || values[at]! > values[best]!) best = at;
    }
  }
  return best;
}
