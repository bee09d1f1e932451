/**
 * The steps that count, as the log tells them. Each generation goes on where the one before ended;
 * a restore goes on where its checkpoint's generation was at that step, and what others did since is
 * gone with the workers that held it, and is done again. So the steps that count are those of the
 * last generation and its ancestors.
 */
import type { PayloadOf } from "@coxswain/events";
import type { Batches } from "./batches.ts";
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

/** Stands for another job, at whose checkpoint this one began. */
const inherited = 0;

export class Lineage {
  readonly #shards: number;
  readonly #batches: Batches;
  #stretches: readonly Stretch[] = [];
  readonly #formed: Formed[] = [];
  /** By generation: what it and its ancestors did. */
  readonly #lines = new Map<number, readonly Stretch[]>();
  /** Steps below have been told by the present line. */
  #step = 0;
  #stepMax = 0;
  #steps: number | undefined;
  #stepsTold = 0;
  /** Steps that another job did. */
  readonly stepsInherited: number = 0;

  /** @param begin step of the other job's checkpoint at which this one begins; 0: it begins anew */
  constructor(shards: number, batches: Batches, begin = 0) {
    this.#shards = shards;
    this.#batches = batches;
    if (begin === 0) return;
    const members = [{ workerId: "", nodeId: "", shardFrom: 0, shardTo: shards }];
    this.#stretches = [{ from: 0, to: begin, generation: inherited, members }];
    this.#lines.set(inherited, this.#stretches);
    this.#step = begin;
    this.#stepMax = begin;
    this.stepsInherited = begin;
  }

  get stretches(): readonly Stretch[] {
    return this.#stretches;
  }
  get step(): number {
    return this.#step;
  }
  /** Steps below have been told by some line. */
  get stepMax(): number {
    return this.#stepMax;
  }
  /** Told, and not among those that count. */
  get stepsRedone(): number {
    const own = this.#stretches.filter(({ generation }) => generation !== inherited);
    return this.#stepsTold - own.reduce((sum, { from, to }) => sum + to - from, 0);
  }
  /** Steps of the job, as the trainers say. */
  get steps(): number | undefined {
    return this.#steps;
  }

  /** @param checkpoints the generation that wrote each step's */
  formed(formed: Formed, checkpoints: ReadonlyMap<number, number>, complain: Complain): void {
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
    // Members differ by at most one update: when all who committed the last one are gone, the others
    // compute it again, and the log already has it.
    else if (!this.#batches.isOneUpdateBack(fromStep, this.#step))
      complain(
        "steps-twice",
        `generation ${generation} goes back to step ${fromStep} of ${this.#step} without a restore`,
      );
    this.#batches.formed(formed, complain);
    this.#formed.push(formed);
    // It may write a checkpoint before it has done a step of its own.
    this.#lines.set(generation, this.#stretches);
  }

  #restore(formed: Formed, checkpoints: ReadonlyMap<number, number>, complain: Complain): void {
    const { fromStep, checkpointStep, generation } = formed;
    if (fromStep > 0 && checkpointStep !== fromStep)
      complain(
        "restore-wrong",
        `generation ${generation} holds from step ${fromStep}, its checkpoint is of step ${checkpointStep ?? "none"}`,
      );
    const origin = fromStep === this.stepsInherited ? inherited : checkpoints.get(fromStep);
    if (fromStep > 0 && origin === undefined)
      complain("restore-wrong", `no checkpoint of step ${fromStep} was committed`);
    const line = (origin === undefined ? undefined : this.#lines.get(origin)) ?? this.#stretches;
    this.#stretches = line
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
    this.#batches.progressed(stepTo, steps, complain);
    this.#stretches = withStretch(this.#stretches, {
      from: stepFrom,
      to: stepTo,
      generation,
      members: formed?.members ?? [],
    });
    this.#lines.set(generation, this.#stretches);
    this.#stepsTold += Math.max(0, stepTo - stepFrom);
    this.#stepMax = Math.max(this.#stepMax, stepTo);
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

/** A stretch that goes on where its generation's last one ended is one with it. */
function withStretch(stretches: readonly Stretch[], stretch: Stretch): readonly Stretch[] {
  const last = stretches.at(-1);
  if (last?.generation !== stretch.generation || last.to !== stretch.from)
    return [...stretches, stretch];
  return [...stretches.slice(0, -1), { ...last, to: stretch.to }];
}
