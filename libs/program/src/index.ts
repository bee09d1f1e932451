export { type AdamSettings, adam, adamW, lamb } from "./adam.ts";
export { clipByGlobalNorm, clipByNorm, clipByValue } from "./clip.ts";
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
export type { Range } from "./norms.ts";
export {
  momentum,
  type Optimizer,
  type Rate,
  type StepRule,
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
export {
  constant,
  cosine,
  exponentialDecay,
  linear,
  oneCycle,
  polynomial,
  type Schedule,
  stepDecay,
  warmUp,
} from "./schedule.ts";
export { type LayersModel, type Tensor, type TensorFlow, tf } from "./tf.ts";
export {
  factorsOf,
  type RuleNumbers,
  type RuleStep,
  type RuleVectors,
  rulesVersion,
  runRule,
  type Term,
  type UpdateRule,
  type UpdateStage,
  type VectorName,
} from "./update-rule.ts";
