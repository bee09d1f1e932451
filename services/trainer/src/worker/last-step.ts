/**
 * Members differ by one step at most: whoever is behind asks, whoever is ahead hands the last step's
 * reduced vector on.
 */
import type { Proposal } from "../decide/agreement.ts";
import type { Updates } from "../decide/updates.ts";
import type { Vectors } from "../exchange/memory.ts";
import type { Clock } from "./clock.ts";
import { reducedFrames } from "./follow.ts";
import type { PeersPort } from "./member-ports.ts";

export interface LastStepPorts {
  readonly workerId: string;
  readonly vectors: Vectors;
  readonly updates: Updates;
  readonly peers: Pick<PeersPort, "send" | "tell">;
  readonly clock: Pick<Clock, "nowMs">;
  members(): readonly { readonly workerId: string }[];
  /** The next step to commit. */
  step(): number;
}

/** A member that lacks the last step waits so long for somebody to send it. */
export const catchUpMs = 1000;

export class LastStep {
  readonly #ports: LastStepPorts;
  /** The step whose reduced vector this worker holds, -1 when none. */
  #heldStep = -1;
  #askedSinceMs = 0;
  #formedMs = 0;

  constructor(ports: LastStepPorts) {
    this.#ports = ports;
  }

  holds(step: number): void {
    this.#heldStep = step;
  }

  /** The vector of the last committed step is here. */
  get isHeld(): boolean {
    return this.#isLast(this.#heldStep);
  }

  /** A generation began, with this member level or behind. */
  level(fromStep: number, isBehind: boolean): void {
    const { clock, members, step } = this.#ports;
    this.#formedMs = clock.nowMs();
    if (isBehind) {
      this.#askedSinceMs = clock.nowMs();
      return this.ask();
    }
    if (step() <= fromStep) return;
    for (const { workerId } of members()) this.#send(workerId, fromStep);
  }

  /** Those who stay may all lack the last step: whoever goes hands it over. */
  helpStaying({ fromStep, members, level }: Proposal): void {
    if (this.#ports.step() !== fromStep) return;
    const behind = members.filter(({ workerId }) => !level.includes(workerId));
    for (const { workerId } of behind) this.#send(workerId, this.#heldStep);
  }

  ask(): void {
    const { workerId: me, members, peers } = this.#ports;
    const step = this.#ports.step();
    for (const { workerId } of members())
      if (workerId !== me) peers.tell(workerId, { kind: "need", step });
  }

  /** The step of the update that was committed last. */
  #isLast(step: number): boolean {
    const next = this.#ports.step();
    return step < next && this.#ports.updates.after(step) === next;
  }

  /** Nobody has sent it in time. */
  get isAskedInVain(): boolean {
    return this.#ports.clock.nowMs() - this.#askedSinceMs > catchUpMs;
  }

  #send(workerId: string, step: number): void {
    const { workerId: me, peers, vectors, updates } = this.#ports;
    const hasIt = step >= 0 && this.#heldStep === step && this.#isLast(step);
    if (!hasIt || workerId === me) return;
    for (const frame of reducedFrames(step, vectors.reduced[updates.turnOf(step)]))
      peers.send(workerId, frame);
  }

  /**
   * Answers who asks. False when this worker is ahead and cannot: a newcomer has the state, not the
   * last step's vector.
   */
  answer(workerId: string, step: number): boolean {
    const { clock } = this.#ports;
    if (!this.#isLast(step) || this.#heldStep === step) this.#send(workerId, step);
    else return clock.nowMs() - this.#formedMs < catchUpMs / 2;
    return true;
  }
}
