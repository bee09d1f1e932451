export { type Batch, type BatchLimits, divide, type TunedBatch, tuneBatch } from "./batch.ts";
export {
  type AllocationPolicy,
  choicesOf,
  type Demand,
  decideAllocation,
  defaultPolicy,
  workersReach,
} from "./decide-allocation.ts";
export { type Choice, divideWorkers } from "./divide-workers.ts";
export {
  efficiencyOf,
  type GradientNoise,
  gainOf,
  noiseOfParts,
  noiseScaleOf,
} from "./efficiency.ts";
export { fitThroughput, type StepObservation } from "./fit-throughput.ts";
export { atBatch, type NoiseSample, SmoothedNoise } from "./smoothed-noise.ts";
export { type LocalBatch, type Spread, type StepModel, stepSeconds } from "./throughput.ts";
