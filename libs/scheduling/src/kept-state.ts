/**
 * The cluster's state as a service keeps it: jobs are told one at a time as the log is read, the rest
 * is brought to what a cycle looks at. It decides as a fresh state of the same snapshot would, so a
 * record of what was seen still gives the same decisions.
 */
import type { Job } from "@coxswain/domain";
import { ClusterState } from "./cluster-state.ts";
import { decideCycle } from "./decide-cycle.ts";
import { differences, type Look, noLook } from "./look.ts";
import { type Decision, isAlike } from "./snapshot.ts";

export class KeptState {
  readonly #state = new ClusterState();
  #look: Look = noLook;
  #nowMs = Number.NEGATIVE_INFINITY;

  setJob(job: Job): void {
    this.#state.setJob(job);
  }

  /**
   * Decides over the jobs that were told and what is seen now.
   *
   * @param nowMs never less than the last time: pauses that were over do not begin again
   */
  decide(look: Look, nowMs: number): Decision[] {
    this.#see(look);
    return decideCycle(this.#state, this.notBefore(nowMs));
  }

  /** The time that counts when the clock says `nowMs`: a clock that was set back stands still. */
  notBefore(nowMs: number): number {
    this.#nowMs = Math.max(this.#nowMs, nowMs);
    return this.#nowMs;
  }

  #see(look: Look): void {
    const before = this.#look;
    this.#look = look;
    if (!isAlike(before.policy, look.policy)) this.#state.setPolicy(look.policy);
    if (!isAlike(before.queues, look.queues)) this.#state.setQueues(look.queues);
    const nodes = differences(before.nodes, look.nodes, ({ nodeId }) => nodeId);
    for (const nodeId of nodes.gone) this.#state.removeNode(nodeId);
    for (const node of nodes.changed) this.#state.setNode(node);
    const services = differences(before.services, look.services, ({ name }) => name);
    for (const name of services.gone) this.#state.removeService(name);
    for (const service of services.changed) this.#state.setService(service);
  }
}
