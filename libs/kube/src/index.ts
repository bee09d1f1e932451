export { buildKube, connectKube } from "./connect.ts";
export type {
  AccessQuestion,
  Follower,
  FollowOptions,
  Kube,
  KubeObject,
  ObjectMeta,
  OwnerReference,
  Resource,
} from "./port.ts";
export { parseQuantity } from "./quantity.ts";
export type { Request, Send } from "./request.ts";
export {
  type Condition,
  events,
  type NodeObject,
  nodes,
  type PodObject,
  type PodTemplateObject,
  pods,
  podTemplates,
  type Quantities,
  secrets,
  storageClasses,
  type Taint,
  type Terminated,
  type Toleration,
  type TrainingJobObject,
  trainingJobFinalizer,
  trainingJobGroup,
  trainingJobs,
} from "./resources.ts";
export { trainingJobDefinition } from "./training-job-definition.ts";
