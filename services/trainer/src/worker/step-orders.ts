/** What the compute thread is ordered for an update: pieces, group, and how far it may go by itself. */
import { runLengthOf } from "../decide/run-length.ts";
import type { Updates } from "../decide/updates.ts";
import type { RunOrder } from "./compute-messages.ts";
import { runMax } from "./gate.ts";
import type { MemberPorts } from "./member-ports.ts";
import type { OwnRun } from "./own-run.ts";
import type { StepClock } from "./step-clock.ts";
import type { StepExchange } from "./step-exchange.ts";
import type { Supervision } from "./supervision.ts";

export interface StepOrdersPorts extends Pick<MemberPorts, "steps" | "mustStopBetween"> {
  readonly compute: Pick<MemberPorts["compute"], "order">;
  readonly exchange: Pick<StepExchange, "piecesIn" | "groupAt">;
  readonly supervision: Pick<Supervision, "planOf">;
  readonly updates: Updates;
  readonly run: Pick<OwnRun, "begin">;
  readonly stepClock: Pick<StepClock, "meanMs">;
  members(): Parameters<StepExchange["piecesIn"]>[0];
  /** Somebody needs each reduced vector. */
  isFollowed(): boolean;
  /** The update of this step is not begun in this generation, or not without a look. */
  isBarred(step: number): boolean;
}

export class StepOrders {
  readonly #ports: StepOrdersPorts;

  constructor(ports: StepOrdersPorts) {
    this.#ports = ports;
  }

  /** This worker is a member, and `step` the next one to commit. */
  give(step: number): void {
    const { compute, exchange, supervision, updates, members } = this.#ports;
    const audit = supervision.planOf(step)?.shard;
    const pieces = exchange.piecesIn(members())!;
    const group = exchange.groupAt(step);
    const { steps } = updates.at(step);
    const run = group === undefined || audit !== undefined ? undefined : this.#runFrom(step);
    compute.order({ step, steps, pieces, audit, group, run });
  }

  /** What the compute thread may commit by itself; undefined: nothing. */
  #runFrom(step: number): RunOrder | undefined {
    const { steps: end, updates, stepClock, supervision, run, isFollowed, isBarred } = this.#ports;
    // Two reduced vectors are kept, no more.
    if (isFollowed()) return undefined;
    const count = runLengthOf({
      ...{ step, steps: end, updateMs: stepClock.meanMs, max: runMax },
      strideAt: (at) => updates.at(at),
      mustLookBefore: (at) => isBarred(at) || supervision.planOf(at) !== undefined,
      mustStopBetween: this.#ports.mustStopBetween ?? (() => false),
    });
    if (count === 1) return undefined;
    const { steps, learningRateFactor } = updates.at(step);
    return { ...run.begin({ step, steps, count }), learningRateFactor };
  }
}
