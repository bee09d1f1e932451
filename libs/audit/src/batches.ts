/** Which steps each update took, as the generations tell; what was in force is never told otherwise. */
import { afterUpdate, type BatchChange, updatesBefore } from "@coxswain/domain";
import type { PayloadOf } from "@coxswain/events";
import type { ViolationKind } from "./report.ts";

type Formed = PayloadOf<"training.generation-formed">;
type Complain = (kind: ViolationKind, message: string) => void;

export class Batches {
  readonly #batchSize: number;
  #changes: readonly BatchChange[];

  /** @param changes of the job file */
  constructor(batchSize: number, changes: readonly BatchChange[]) {
    this.#batchSize = batchSize;
    this.#changes = changes;
  }

  get changes(): readonly BatchChange[] {
    return this.#changes;
  }

  formed({ generation, fromStep, batches }: Formed, complain: Complain): void {
    if (batches === undefined) return;
    const before = (changes: readonly BatchChange[]) =>
      JSON.stringify(changes.filter((change) => change.fromStep < fromStep).map(textOf));
    if (before(batches) !== before(this.#changes))
      complain(
        "batches-wrong",
        `generation ${generation} tells other batches for steps before ${fromStep} than were in force`,
      );
    const isWhole = ({ batchSize }: BatchChange) => batchSize % this.#batchSize === 0;
    const isAscending = batches.every(
      (one, at) => at === 0 || one.fromStep > batches[at - 1]!.fromStep,
    );
    if (!batches.every(isWhole) || !isAscending)
      complain("batches-wrong", `generation ${generation} tells batches that cannot be`);
    else this.#changes = batches;
  }

  /** Steps of which a part of an update is told. */
  progressed(stepTo: number, steps: number, complain: Complain): void {
    if (!this.#isBetweenUpdates(stepTo, steps))
      complain("batches-wrong", `step ${stepTo} lies within an update`);
  }

  #isBetweenUpdates(step: number, steps: number): boolean {
    const course = { batchSize: this.#batchSize, steps, changes: this.#changes };
    return step >= steps || updatesBefore(course, step) < updatesBefore(course, step + 1);
  }

  /** `step` is the next one after the update of `fromStep`, or that one. */
  isOneUpdateBack(fromStep: number, step: number): boolean {
    const course = { batchSize: this.#batchSize, steps: step, changes: this.#changes };
    return afterUpdate(course, fromStep) >= step;
  }
}

const textOf = ({ fromStep, batchSize, learningRateFactor }: BatchChange) =>
  `${fromStep} ${batchSize} ${learningRateFactor}`;
