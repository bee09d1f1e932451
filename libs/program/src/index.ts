export {
  type Batch,
  type Dataset,
  isInMemory,
  type Shapes,
  type Split,
  type StreamedDataset,
  type StreamedSplit,
} from "./dataset.ts";
export { accuracy, crossEntropy, squaredError } from "./losses.ts";
export { mnist } from "./mnist.ts";
export {
  adam,
  adamW,
  momentum,
  type Optimizer,
  type Schedule,
  sgd,
  type UpdateState,
} from "./optimizer.ts";
export {
  defineProgram,
  type ForwardContext,
  type FunctionModel,
  type Initializers,
  isProgram,
  type PerSample,
  type Program,
  type ProgramContext,
  type ProgramParameters,
  type Weights,
} from "./program.ts";
export { records } from "./records.ts";
export { type LayersModel, type Tensor, type TensorFlow, tf } from "./tf.ts";
export type { RuleVectors, Term, UpdateRule, VectorName } from "./update-rule.ts";
