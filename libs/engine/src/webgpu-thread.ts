/**
 * Runs a program on WebGPU, whose results come by promise only: so it has a thread, on which the one
 * that computes waits. Operators that add with atomics, in an order that nobody knows, are left out.
 */
import { createRequire } from "node:module";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { AppError } from "@coxswain/domain";
import { type Tensor, tf } from "@coxswain/program";
import { withDeterministicRandom } from "./deterministic.ts";
import { openProgram } from "./open-program.ts";
import { openPlain, plainName } from "./plain-kernels.ts";
import { initialize, load, partsOf } from "./program-parts.ts";
import { whereCalled } from "./user-place.ts";
import type { Answer, Ready, Request, ThreadOptions } from "./webgpu-messages.ts";
import { dawnPath } from "./webgpu-place.ts";

const { cacheDir, compile, shapes, bell, port } = workerData as ThreadOptions & {
  readonly port: MessagePort;
};
const require = createRequire(import.meta.url);
const backendName = "webgpu";
const packedMatMul = 3;
/** Their sums depend on who comes first. */
const unrepeatable = [
  ...["Bincount", "DenseBincount", "Dilation2DBackpropFilter", "Dilation2DBackpropInput"],
  ...["ScatterNd", "SparseSegmentMean", "SparseSegmentSum", "SparseToDense"],
  ...["TensorScatterUpdate", "UnsortedSegmentSum"],
];

interface Dawn {
  readonly globals: object;
  create(options: readonly string[]): object;
}

async function openBackend(): Promise<void> {
  const { create, globals } = require(dawnPath(cacheDir)) as Dawn;
  Object.assign(globalThis, globals);
  const navigator = { gpu: create([]), userAgent: "node" };
  Object.defineProperty(globalThis, "navigator", { value: navigator, configurable: true });
  require("@tensorflow/tfjs");
  require("@tensorflow/tfjs-backend-webgpu");
  // The processor's kernels for small tensors would be another way to compute, and the split of long
  // sums adds with atomics.
  tf.env().set("WEBGPU_CPU_FORWARD", false);
  tf.env().set("WEBGPU_MATMUL_PROGRAM_TYPE", packedMatMul);
  for (const kernelName of unrepeatable) tf.unregisterKernel(kernelName, backendName);
  await tf.setBackend(backendName);
  await tf.ready();
  const backend = tf.backend() as unknown as {
    tensorMap: { get(id: object): { readonly values: Float32Array | null } };
    readSync(id: object): Float32Array;
  };
  backend.readSync = (id) => {
    const { values } = backend.tensorMap.get(id);
    if (values !== null && values !== undefined) return values;
    const sentence = "the webgpu engine cannot read values back while a step runs";
    throw new AppError("program-invalid", `${sentence}${whereCalled()()}`);
  };
}

async function open() {
  await openBackend();
  const { samplesTrain, samplesTest, ...rest } = shapes;
  const nothing = (samples: number) => ({
    samples,
    batch: () => ({ inputs: new Float32Array(0), labels: new Float32Array(0) }),
  });
  const data = { ...rest, train: nothing(samplesTrain), test: nothing(samplesTest) };
  const opened = await openProgram({ ...compile, openData: () => Promise.resolve(data) });
  // Initial values are read back, which this back end cannot.
  openPlain();
  await tf.setBackend(plainName);
  const parts = partsOf(opened, compile);
  await tf.setBackend(backendName);
  return parts;
}

const parts = await open().catch((error: unknown) => {
  parentPort!.postMessage(failure(error));
  throw error;
});

const { model, layout, plan, step } = parts;

function failure(error: unknown): Extract<Answer, { kind: "failed" }> {
  const message = error instanceof Error ? error.message : String(error);
  const missing = /Kernel '(\w+)' not registered/.exec(message)?.[1];
  if (missing !== undefined) {
    const why = unrepeatable.includes(missing) ? ": its sums would differ from run to run" : "";
    const sentence = `the webgpu engine has no operator ${missing}${why}`;
    return { kind: "failed", code: "program-invalid", message: `[program-invalid] ${sentence}` };
  }
  const code = error instanceof AppError ? error.code : "program-threw";
  return { kind: "failed", code, message };
}

async function compute(request: Request): Promise<Answer> {
  const { kind, parameters, inputs, labels } = request;
  if (parameters !== undefined) load(parts, parameters);
  const isStep = kind === "gradient";
  const place = isStep ? plan.randomPlace(request) : step.evaluationPlace;
  const samples = isStep ? plan.samples : plan.evaluationBatch;
  const whole = withDeterministicRandom(place, () =>
    tf.tidy(() => {
      const tensors = step.tensors({ inputs, labels }, samples);
      const outputs: Tensor[] = isStep ? step.run(tensors) : step.scores(tensors);
      return tf.concat(outputs.map((output) => tf.reshape(output, [-1])) as never) as Tensor;
    }),
  ) as Tensor;
  const values = (await whole.data()) as Float32Array;
  whole.dispose();
  return { kind: "done", values };
}

const answers = new Int32Array(bell);
port.on("message", (request: Request) => {
  void compute(request)
    .catch(failure)
    .then((answer) => {
      port.postMessage(answer);
      Atomics.add(answers, 0, 1);
      Atomics.notify(answers, 0);
    });
});
const initial = new Float32Array(layout.parameterFloats);
initialize(parts, initial);
const ready: Ready = { kind: "ready", layout, initial, modelTopology: model.topology };
parentPort!.postMessage(ready);
