/** One online service: what it asks for, the room it has, and the replicas that have started. */
import { assert } from "@coxswain/domain";
import type { ReserveDecision, ServiceView } from "@coxswain/scheduling";
import type { SimulatedService } from "./scenario.ts";

export class Serving {
  readonly #service: SimulatedService;
  #view: ServiceView;
  /** Replicas by node, each with the time from which it serves. */
  readonly #fromMs = new Map<string, number[]>();

  constructor(service: SimulatedService) {
    this.#service = service;
    const spec = { replicas: 0, resources: service.resources };
    this.#view = { name: service.name, spec, reserved: {} };
  }

  get view(): ServiceView {
    return this.#view;
  }

  demand(replicas: number): void {
    const spec = { replicas, resources: this.#service.resources };
    this.#view = { ...this.#view, spec };
  }

  /** Takes the decision; `startsAtMs` says when a replica that begins on a node now will serve. */
  reserve(
    { reserved, missing }: ReserveDecision,
    startsAtMs: (nodeId: string) => number,
  ): number[] {
    this.#view = { ...this.#view, reserved, missing };
    const starts: number[] = [];
    for (const [nodeId, times] of this.#fromMs) times.splice(reserved[nodeId] ?? 0);
    for (const [nodeId, count] of Object.entries(reserved)) {
      const times = this.#fromMs.get(nodeId) ?? [];
      this.#fromMs.set(nodeId, times);
      while (times.length < count) {
        const atMs = startsAtMs(nodeId);
        times.push(atMs);
        starts.push(atMs);
      }
      assert(times.length === count, "each reserved place has one replica");
    }
    return starts;
  }

  /** What runs on a node that falls silent is gone; the room is reserved until the scheduler knows. */
  lose(nodeId: string): void {
    const times = this.#fromMs.get(nodeId);
    times?.fill(Number.POSITIVE_INFINITY);
  }

  replicasAt(nowMs: number): number {
    let count = 0;
    for (const times of this.#fromMs.values())
      for (const fromMs of times) if (fromMs <= nowMs) count += 1;
    return count;
  }

  get reserved(): number {
    let count = 0;
    for (const times of this.#fromMs.values()) count += times.length;
    return count;
  }
}
