/**
 * The steps that count, as the log tells them. A restore from a checkpoint cuts off what came after
 * it: those steps are gone with the workers that held them, and are done again.
 */
import type { PayloadOf } from "@coxswain/events";
import { coverageOf } from "./coverage.ts";
import type { AuditedGeneration, ViolationKind } from "./report.ts";

type Formed = PayloadOf<"training.generation-formed">;

/** Steps `from <= s < to`, committed by one generation. */
export interface Stretch {
  readonly from: number;
  readonly to: number;
  readonly generation: number;
  readonly members: Formed["members"];
}

type Complain = (kind: ViolationKind, message: string) => void;

export class Lineage {
  readonly #shards: number;
  #stretches: Stretch[] = [];
  readonly #formed: Formed[] = [];
  /** Steps below have been told. */
  #step = 0;
  #steps: number | undefined;
  stepsRedone = 0;

  constructor(shards: number) {
    this.#shards = shards;
  }

  get stretches(): readonly Stretch[] {
    return this.#stretches;
  }
  get step(): number {
    return this.#step;
  }
  /** Steps of the job, as the trainers say. */
  get steps(): number | undefined {
    return this.#steps;
  }

  formed(formed: Formed, checkpoints: ReadonlySet<number>, complain: Complain): void {
    const { generation, fromStep } = formed;
    const last = this.#formed.at(-1)?.generation ?? 0;
    if (generation <= last)
      complain("generation-back", `generation ${generation} comes after generation ${last}`);
    this.#checkShards(formed, complain);
    if (formed.cause === "restore") this.#restore(formed, checkpoints, complain);
    else if (fromStep > this.#step)
      complain(
        "generation-ahead",
        `generation ${generation} holds from step ${fromStep}, but only ${this.#step} steps are told`,
      );
    // Members differ by at most one step: when all who committed the last one are gone, the others
    // compute it again, to the same bits, and the log already has it.
    else if (fromStep < this.#step - 1)
      complain(
        "steps-twice",
        `generation ${generation} goes back to step ${fromStep} of ${this.#step} without a restore`,
      );
    this.#formed.push(formed);
  }

  #restore(formed: Formed, checkpoints: ReadonlySet<number>, complain: Complain): void {
    const { fromStep, checkpointStep, generation } = formed;
    if (fromStep > 0 && checkpointStep !== fromStep)
      complain(
        "restore-wrong",
        `generation ${generation} holds from step ${fromStep}, its checkpoint is of step ${checkpointStep ?? "none"}`,
      );
    if (fromStep > 0 && !checkpoints.has(fromStep))
      complain("restore-wrong", `no checkpoint of step ${fromStep} was committed`);
    if (fromStep > this.#step)
      complain("restore-wrong", `step ${fromStep} lies ahead of the ${this.#step} steps told`);
    this.stepsRedone += Math.max(0, this.#step - fromStep);
    this.#stretches = this.#stretches
      .filter(({ from }) => from < fromStep)
      .map((stretch) => ({ ...stretch, to: Math.min(stretch.to, fromStep) }));
    this.#step = fromStep;
  }

  #checkShards({ generation, members }: Formed, complain: Complain): void {
    const ranges = members.map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo }));
    const { skipped, twice, covered } = coverageOf(ranges, this.#shards);
    const workers = new Set(members.map(({ workerId }) => workerId));
    if (skipped > 0 || twice > 0 || covered !== this.#shards)
      complain(
        "shards-wrong",
        `generation ${generation}: ${skipped} of ${this.#shards} shards have no member, ${twice} have two, ${covered + skipped - this.#shards} do not exist`,
      );
    if (workers.size !== members.length)
      complain("shards-wrong", `generation ${generation} lists a worker twice`);
  }

  progressed(progress: PayloadOf<"training.progressed">, complain: Complain): void {
    const { generation, stepFrom, stepTo, steps } = progress;
    const formed = this.#formed.at(-1);
    if (formed?.generation !== generation)
      complain(
        "unknown-generation",
        `steps ${stepFrom} to ${stepTo} are of generation ${generation}, the present one is ${formed?.generation ?? "none"}`,
      );
    if (this.#steps !== undefined && this.#steps !== steps)
      complain("steps-differ", `the job has ${steps} steps, before it had ${this.#steps}`);
    this.#steps ??= steps;
    if (stepFrom > this.#step)
      complain("steps-skipped", `steps ${this.#step} to ${stepFrom} were not told in order`);
    if (stepFrom < this.#step || stepTo <= stepFrom)
      complain(
        "steps-twice",
        `steps ${stepFrom} to ${stepTo} were told, but ${this.#step} were done`,
      );
    const members = formed?.members ?? [];
    this.#stretches.push({ from: stepFrom, to: stepTo, generation, members });
    this.#step = Math.max(this.#step, stepTo);
  }

  generations(): AuditedGeneration[] {
    return this.#formed.map(({ generation, cause, fromStep, members }) => ({
      generation,
      cause,
      fromStep,
      members: members.length,
      steps: this.#stretches
        .filter((stretch) => stretch.generation === generation)
        .reduce((sum, { from, to }) => sum + Math.max(0, to - from), 0),
    }));
  }
}
