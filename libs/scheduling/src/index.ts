export { decideEnd, lossesMax } from "./decide-end.ts";
export { decidePlacement, wantedWorkers } from "./decide-placement.ts";
export { type FreeNode, Room } from "./room.ts";
export {
  compareText,
  type Decision,
  type NodeView,
  type PlacedWorker,
  type Snapshot,
  type Vector,
  vectorOf,
  type WaitReason,
} from "./snapshot.ts";
