/** Which updates this member has committed, whichever of its threads did. */
import { AppError } from "@coxswain/domain";
import type { Updates } from "../decide/updates.ts";
import { metricsIn } from "../exchange/memory.ts";
import type { Committed } from "./committed.ts";
import type { MemberPorts } from "./member-ports.ts";
import { OwnRun } from "./own-run.ts";
import { StepClock } from "./step-clock.ts";

export interface StepsPorts
  extends Pick<
    MemberPorts,
    "gate" | "clock" | "vectors" | "compiled" | "ledger" | "onCommitted" | "onFailed"
  > {
  readonly compute: Pick<MemberPorts["compute"], "apply">;
  readonly updates: Updates;
  /** The reduced vector of the update of this step is the last one that is here; -1: there is none. */
  held(step: number): void;
  /** The update of this step is committed, and its vector is here. */
  done(step: number): void;
}

export class Steps {
  readonly #ports: StepsPorts;
  readonly run: OwnRun;
  readonly clock: StepClock;
  #next = 0;

  constructor(ports: StepsPorts) {
    this.#ports = ports;
    this.clock = new StepClock(ports.clock);
    this.run = new OwnRun({
      gate: ports.gate,
      onCommitted: (committed) => this.#committed(committed),
      onSeen: (updates) => {
        this.clock.done(updates);
        this.clock.start();
      },
    });
  }

  /** The next step to commit, as far as the control thread has heard. */
  get known(): number {
    return this.#next;
  }

  /**
   * The compute thread commits nothing by itself until the next update is ordered, and `known` is
   * true. Whoever lets something depend on the step settles first.
   */
  settle(): void {
    this.run.settle();
  }

  /** The state in memory is that after steps below `step`. */
  startAt(step: number): void {
    this.settle();
    this.#next = step;
    this.#ports.held(-1);
    this.#ports.ledger.startsAt(step);
  }

  /** The reduced vector of `step` is whole in memory: apply it. False when it is not finite. */
  advance(step: number): boolean {
    const { vectors, compiled, updates, onFailed } = this.#ports;
    const metrics = metricsIn(vectors.reduced[updates.turnOf(step)], compiled.layout);
    const { loss } = metrics;
    if (!Number.isFinite(loss)) {
      onFailed(new AppError("loss-not-finite", `the loss of step ${step} is ${loss}`), step);
      return false;
    }
    void this.#apply(step, false);
    this.clock.done();
    const once = { agoMs: 0, exchangeMs: undefined, isAtRest: true };
    this.#committed({ step, next: updates.after(step), metrics, ...once });
    return true;
  }

  /** As `advance`, of somebody else's step: resolves when it is applied. */
  follow(step: number): Promise<void> {
    const applied = this.#apply(step, true);
    this.#reach(step, this.#ports.updates.after(step));
    return applied;
  }

  #committed(committed: Committed): void {
    this.#reach(committed.step, committed.next);
    this.#ports.onCommitted(committed);
  }

  #reach(step: number, next: number): void {
    const { held, done, ledger } = this.#ports;
    this.#next = next;
    held(step);
    ledger.committed(next);
    done(step);
  }

  #apply(step: number, isAwaited: boolean): Promise<void> {
    const { updates, compute } = this.#ports;
    const { steps, learningRateFactor } = updates.at(step);
    return compute.apply({
      step,
      steps,
      turn: updates.turnOf(step),
      learningRateFactor,
      isAwaited,
    });
  }
}
