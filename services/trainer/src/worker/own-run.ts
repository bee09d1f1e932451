/** The run that the compute thread is on, as the control thread sees it: see `gate.ts`. */
import { assert } from "@coxswain/domain";
import type { Committed } from "./committed.ts";
import type { RunOrder } from "./compute-messages.ts";
import { type Gate, wallMs } from "./gate.ts";

/** Updates of equal length, one after the other. */
export interface Run {
  /** The first step of the first one. */
  readonly step: number;
  /** Steps of each. */
  readonly steps: number;
  readonly count: number;
}

export interface OwnRunPorts {
  readonly gate: Pick<Gate, "open" | "close" | "committed" | "note">;
  /** In order, once for each update that the compute thread has committed. */
  onCommitted(committed: Committed): void;
  /** So many updates more were seen to be committed, just now. */
  onSeen(updates: number): void;
}

export class OwnRun {
  readonly #ports: OwnRunPorts;
  #ticket = 0;
  #present: Run | undefined;
  #isOpen = false;
  /** Updates that the control thread knows of. */
  #seen = 0;

  constructor(ports: OwnRunPorts) {
    this.#ports = ports;
  }

  /** The compute thread may commit these by itself; what it is ordered must say so. */
  begin(run: Run): Omit<RunOrder, "learningRateFactor"> {
    assert(this.#present === undefined, "one run after the other");
    this.#ticket += 1;
    this.#present = run;
    this.#isOpen = true;
    this.#seen = 0;
    this.#ports.gate.open(this.#ticket);
    return { ticket: this.#ticket, count: run.count, done: 0 };
  }

  /**
   * From now on only the control thread commits, and it knows all that is committed. The update under
   * way is told of when it is whole, as without a run.
   */
  settle(): void {
    if (this.#present === undefined) return;
    this.#isOpen = false;
    this.#ports.gate.close();
    this.catchUp();
    this.#present = undefined;
  }

  /** Hears what was committed since the last time. */
  catchUp(): void {
    const run = this.#present;
    if (run === undefined) return;
    const before = this.#seen;
    const { gate, onCommitted, onSeen } = this.#ports;
    const { committed } = gate;
    while (this.#seen < committed) {
      const step = run.step + this.#seen * run.steps;
      const { atMs, exchangeMs, metrics } = gate.note(this.#seen);
      this.#seen += 1;
      const isLast = this.#seen === run.count;
      onCommitted({
        ...{ step, next: step + run.steps, metrics, exchangeMs },
        agoMs: Math.max(0, wallMs() - atMs),
        isAtRest: isLast || (!this.#isOpen && this.#seen === committed),
      });
    }
    if (this.#seen === run.count) this.#present = undefined;
    if (this.#seen > before) onSeen(this.#seen - before);
  }
}
