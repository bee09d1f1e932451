/**
 * Kernels of TensorFlow.js's node back end that we replace, so that steps can be recorded and are fast.
 *
 * - GatherV2 (embeddings) reads its indices back to check them; TensorFlow checks them itself.
 * - The gradient of ReLU becomes TensorFlow's own operator: one instead of eight, and no constant of
 *   the activation's size.
 * - Multinomial draws from a state of TensorFlow's own; ours from the step's random numbers.
 */
import { type Tensor, tf } from "@coxswain/program";
import type { Attribute, Binding } from "./binding.ts";
import { runPlain, type ValueBackend } from "./plain-kernels.ts";

const backendName = "tensorflow";

/** The part of tfjs-node's back end that kernels are written with. */
interface KernelBackend extends ValueBackend {
  readonly binding: Binding;
  getDTypeInteger(dtype: string): number;
  executeSingleOutput(
    op: string,
    attributes: readonly Attribute[],
    inputs: readonly Tensor[],
  ): Tensor;
}

interface KernelCall {
  readonly inputs: Readonly<Record<string, Tensor>>;
  readonly attrs: Readonly<Record<string, unknown>>;
}

let isInstalled = false;

export function installNativeKernels(backend: KernelBackend): void {
  if (isInstalled) return;
  isInstalled = true;
  replace("GatherV2", (call) => gather(backend, call));
  replace("ReluGrad", ({ inputs }) =>
    backend.executeSingleOutput(
      "ReluGrad",
      [typeOf(backend, "T", inputs["dy"]!.dtype)],
      [inputs["dy"]!, inputs["x"]!],
    ),
  );
  replace("Multinomial", (call) => runPlain("Multinomial", backend, call) as unknown as Tensor);
  tf.unregisterGradient("Relu");
  tf.registerGradient({
    kernelName: "Relu",
    inputsToSave: ["x"],
    gradFunc: (dy, saved) => ({
      x: () => tf.engine().runKernel("ReluGrad", { dy: dy as Tensor, x: saved[0]! }) as Tensor,
    }),
  });
}

function replace(kernelName: string, kernel: (call: KernelCall) => Tensor): void {
  if (tf.getKernel(kernelName, backendName) !== undefined)
    tf.unregisterKernel(kernelName, backendName);
  tf.registerKernel({ kernelName, backendName, kernelFunc: kernel as never });
}

function typeOf(backend: KernelBackend, name: string, dtype: string): Attribute {
  return { name, type: backend.binding.TF_ATTR_TYPE, value: backend.getDTypeInteger(dtype) };
}

/** @throws Error of TensorFlow for an index out of range */
function gather(backend: KernelBackend, { inputs, attrs }: KernelCall): Tensor {
  const [x, indices] = [inputs["x"]!, inputs["indices"]!];
  const { axis, batchDims } = attrs as { readonly axis: number; readonly batchDims: number };
  tf.backend_util.segment_util.collectGatherOpShapeInfo(x, indices, axis, batchDims);
  const { binding } = backend;
  const axisTensor = tf.scalar(axis, "int32");
  const attributes = [
    { name: "batch_dims", type: binding.TF_ATTR_INT, value: batchDims },
    typeOf(backend, "Tparams", x.dtype),
    typeOf(backend, "Tindices", indices.dtype),
    typeOf(backend, "Taxis", "int32"),
  ];
  const gathered = backend.executeSingleOutput("GatherV2", attributes, [x, indices, axisTensor]);
  axisTensor.dispose();
  return gathered;
}
