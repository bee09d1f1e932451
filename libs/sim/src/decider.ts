/** Asks the decision code: the real one by what changed, another one with a whole snapshot. */
import type { Job } from "@coxswain/domain";
import {
  ClusterState,
  type Decision,
  decideCycle,
  type NodeView,
  type ServiceView,
} from "@coxswain/scheduling";
import type { Scenario } from "./scenario.ts";

export class Decider {
  readonly #scenario: Scenario;
  readonly #state = new ClusterState();
  readonly #jobs = new Map<string, Job>();
  readonly #nodes = new Map<string, NodeView>();
  readonly #services = new Map<string, ServiceView>();

  constructor(scenario: Scenario) {
    this.#scenario = scenario;
    if (scenario.policy !== undefined) this.#state.setPolicy(scenario.policy);
    if (scenario.queues !== undefined) this.#state.setQueues(scenario.queues);
  }

  setJob(job: Job): void {
    this.#jobs.set(job.id, job);
    if (this.#isReal) this.#state.setJob(job);
  }

  removeJob(jobId: string): void {
    this.#jobs.delete(jobId);
    if (this.#isReal) this.#state.removeJob(jobId);
  }

  setNode(node: NodeView): void {
    this.#nodes.set(node.nodeId, node);
    if (this.#isReal) this.#state.setNode(node);
  }

  removeNode(nodeId: string): void {
    this.#nodes.delete(nodeId);
    if (this.#isReal) this.#state.removeNode(nodeId);
  }

  setService(view: ServiceView): void {
    this.#services.set(view.name, view);
    if (this.#isReal) this.#state.setService(view);
  }

  get #isReal(): boolean {
    return this.#scenario.decide === undefined;
  }

  decide(nowMs: number): readonly Decision[] {
    const { decide, queues, policy } = this.#scenario;
    if (decide === undefined) return decideCycle(this.#state, nowMs);
    return decide({
      nowMs,
      jobs: [...this.#jobs.values()],
      nodes: [...this.#nodes.values()],
      services: [...this.#services.values()],
      ...(queues === undefined ? {} : { queues }),
      ...(policy === undefined ? {} : { policy }),
    });
  }
}
