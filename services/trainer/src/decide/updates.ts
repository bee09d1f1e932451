/** Which steps each update takes, as far as a member knows, and what follows from it. */
import {
  afterUpdate,
  type BatchChange,
  type BatchCourse,
  type Stride,
  strideAt,
  updatesBefore,
} from "@coxswain/domain";
import type { BatchWanted } from "./agreement.ts";

export interface UpdatesPorts {
  /** Samples of a step. */
  readonly batchSize: number;
  /** Of the job. */
  readonly steps: number;
  /** Of the newest generation that is known. */
  readonly changes: () => readonly BatchChange[];
  /** The batch that was asked for last. */
  readonly batchWanted?: () => BatchWanted | undefined;
}

export class Updates {
  readonly #ports: UpdatesPorts;

  constructor(ports: UpdatesPorts) {
    this.#ports = ports;
  }

  get #course(): BatchCourse {
    const { batchSize, steps, changes } = this.#ports;
    return { batchSize, steps, changes: changes() };
  }

  get changes(): readonly BatchChange[] {
    return this.#ports.changes();
  }

  at(step: number): Stride {
    return strideAt(this.#course, step);
  }

  /** The same with other changes. */
  with(changes: readonly BatchChange[]): Updates {
    return new Updates({ ...this.#ports, changes: () => changes });
  }

  /** The first step of the update after the one of this step. */
  after(step: number): number {
    return afterUpdate(this.#course, step);
  }

  /** Updates. */
  between(from: number, to: number): number {
    return updatesBefore(this.#course, to) - updatesBefore(this.#course, from);
  }

  /** Which of the two reduced vectors belongs to the update of this step. */
  turnOf(step: number): 0 | 1 {
    return (updatesBefore(this.#course, step) % 2) as 0 | 1;
  }

  /** Samples of a whole update from this step on. */
  batchSizeAt(step: number): number {
    const present = this.changes.findLast(({ fromStep }) => fromStep <= step);
    return present?.batchSize ?? this.#ports.batchSize;
  }

  /** What was asked for, unless it has begun, or shall begin, already. */
  get pending(): BatchWanted | undefined {
    const wanted = this.#ports.batchWanted?.();
    const known = Math.max(0, ...this.changes.map(({ decision }) => decision));
    return wanted !== undefined && wanted.decision > known ? wanted : undefined;
  }
}
