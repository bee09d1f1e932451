/** The plain form of the decisions: everything from one snapshot, nothing kept. */
import { ClusterState } from "./cluster-state.ts";
import { decideCycle } from "./decide-cycle.ts";
import type { Decision, Snapshot } from "./snapshot.ts";

/** The state that a snapshot describes. */
export function stateOf(snapshot: Snapshot): ClusterState {
  const state = new ClusterState();
  if (snapshot.policy !== undefined) state.setPolicy(snapshot.policy);
  state.setQueues(snapshot.queues ?? []);
  for (const node of snapshot.nodes) state.setNode(node);
  for (const service of snapshot.services ?? []) state.setService(service);
  for (const job of snapshot.jobs) state.setJob(job);
  return state;
}

/** Decides for every job and service; the same snapshot always gives the same decisions. */
export function decidePlacement(snapshot: Snapshot): Decision[] {
  return decideCycle(stateOf(snapshot), snapshot.nowMs);
}
