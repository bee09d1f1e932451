export { assert, assertNever } from "./assert.ts";
export {
  afterUpdate,
  type BatchChange,
  type BatchCourse,
  givenBatches,
  type Stride,
  strideAt,
  updatesBefore,
  withChange,
} from "./batch-schedule.ts";
export type { LearningRateScaling } from "./batch-schema.ts";
export { counted } from "./counted.ts";
export {
  type EngineSettings,
  type EngineSpec,
  engineLike,
  engineNames,
  engineText,
  type IsaLevel,
  isaLevels,
  isEngineAsked,
  needsGpu,
  settingsOf,
} from "./engine.ts";
export {
  AppError,
  type AppErrorOptions,
  type ErrorCode,
  errorCodes,
  reviveError,
  type ToldError,
} from "./errors.ts";
export {
  idPattern,
  type JobId,
  type NodeId,
  parseJobId,
  parseNodeId,
  parseWorkerId,
  type WorkerId,
} from "./ids.ts";
export {
  isEnded,
  type Job,
  type JobCheckpoint,
  type JobCompiled,
  type JobFailure,
  type JobMember,
  type JobProgress,
  type JobState,
  type JobStateKind,
  type UnjudgedCheckpoint,
  wantedWorkers,
} from "./job.ts";
export type { FactOf, JobFact } from "./job-facts.ts";
export { next, passOver, whyIllegal } from "./job-fold.ts";
export { jobLimits } from "./job-limits.ts";
export {
  type QueueSpec,
  QueueSpecSchema,
  type Quota,
  QuotaSchema,
  queueStrategies,
  type ServiceSpec,
  ServiceSpecSchema,
} from "./queue.ts";
export { type Counter, fillNormal, fillUniform, type Place, philox } from "./random.ts";
export { type Permutation, permutation, type ShardPlace, shardSamples } from "./sample-order.ts";
export {
  type CheckpointSource,
  defaultShards,
  priorityClasses,
  type Resources,
  stepsOf,
  type TrainingJob,
  TrainingJobSchema,
  type TrainingJobSpec,
  TrainingJobSpecSchema,
  type WorkerRange,
} from "./training-job.ts";
