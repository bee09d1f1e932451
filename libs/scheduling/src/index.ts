export { ClusterState } from "./cluster-state.ts";
export { decideCycle } from "./decide-cycle.ts";
export { decideEnd, lossesMax } from "./decide-end.ts";
export { decidePlacement, stateOf } from "./decide-placement.ts";
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
  wantedWorkers,
} from "./snapshot.ts";
export { type Amounts, type ResourceName, type Vector, vectorOf } from "./vector.ts";
