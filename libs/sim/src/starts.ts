/** When what is begun on a node will work: its own delay, once those that leave there are gone. */
import { fillUniform } from "@coxswain/domain";
import type { Costs } from "./scenario.ts";

const startPurpose = 0x51;

export class Starts {
  readonly #costs: Costs;
  readonly #seed: number;
  /** Until when room on a node that is free on paper is still in use. */
  readonly #leavingUntilMs = new Map<string, number>();
  readonly #uniform = new Float32Array(1);
  #count = 0;

  constructor(costs: Costs, seed: number) {
    this.#costs = costs;
    this.#seed = seed;
  }

  worksAtMs(nodeId: string, nowMs: number): number {
    const [least, most] = this.#costs.startMs;
    this.#count += 1;
    fillUniform({ seed: this.#seed, purpose: startPurpose, a: this.#count }, this.#uniform);
    const fromMs = Math.max(nowMs, this.#leavingUntilMs.get(nodeId) ?? nowMs);
    return fromMs + Math.round(least + (most - least) * this.#uniform[0]!);
  }

  /** Somebody there was told to go. */
  leave(nodeId: string, nowMs: number): void {
    this.#leavingUntilMs.set(nodeId, nowMs + this.#costs.stopMs);
  }
}
