export { ClusterState } from "./cluster-state.ts";
export { decideCycle } from "./decide-cycle.ts";
export { decideEnd, lossesMax } from "./decide-end.ts";
export { decidePlacement, stateOf } from "./decide-placement.ts";
export {
  amountText,
  type Change,
  type Explanation,
  explain,
  type VerifiedChange,
} from "./explain.ts";
export { KeptState } from "./kept-state.ts";
export {
  type DecidedRecord,
  type DecisionRecord,
  foldLook,
  type Look,
  noLook,
  recordsOf,
  type SawRecord,
} from "./look.ts";
export { type NodeChoice, nodeChoices } from "./node-choice.ts";
export { type Replayed, replay } from "./replay.ts";
export {
  compareText,
  type Decision,
  defaultPolicy,
  isAboutJob,
  type JobDecision,
  type NodeView,
  type PlacedWorker,
  type Policy,
  type QueueView,
  type ReserveDecision,
  type ServiceView,
  type Snapshot,
  type Wait,
  type WaitReason,
} from "./snapshot.ts";
export { type Amounts, type ResourceName, type Vector, vectorOf } from "./vector.ts";
