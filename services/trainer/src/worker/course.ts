/**
 * What happens along the course of a training: pace, epochs, checkpoints, the end, leaving.
 * None of it holds up a step.
 */
import { within } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import type { StoredEvent } from "@coxswain/events";
import type { Candidate } from "../decide/agreement.ts";
import { type CheckpointPorts, writePart } from "./checkpoints.ts";
import type { Committed } from "./committed.ts";
import type { Compute } from "./compute.ts";
import type { Ledger, Pace } from "./ledger.ts";
import type { GroupMembership } from "./member.ts";

export interface CoursePorts extends Omit<CheckpointPorts, "job" | "workerId" | "toldUpTo"> {
  /** Time for the checkpoint of the last one who leaves. */
  readonly farewellMs: number;
  readonly compute: Pick<Compute, "evaluate" | "stalledMs" | "sincePieceMs" | "gradientNoise">;
  readonly job: () => CheckpointPorts["job"];
  readonly ledger: Ledger;
  readonly me: Candidate;
  readonly membership: () => GroupMembership;
  readonly onEnded: (reason: "left" | "finished") => void;
  readonly onFailed: (error: AppError, step: number) => void;
  readonly log: (sentence: string, fields: object) => void;
}

const paceWindow = 64;
const rejectionsMax = 5;
const finalRetryMs = 1000;
const leaveRetryMs = 50;

export class Course {
  readonly #ports: CoursePorts;
  /** The last updates: the first step after each, and when it was committed. */
  #commits: { readonly next: number; readonly atMs: number }[] = [];
  #lastBegin: number | undefined;
  #batchSize: number | undefined;
  /** Of each update, from the own last piece to the whole sum. */
  readonly #exchangeMs: number[] = [];
  #metrics: Readonly<Record<string, number>> = {};
  /** When the share of waiting for data was told last, and how long the waits were until then. */
  #stallsTold: { readonly atMs: number; readonly stalledMs: number };
  #checkpointMs: number;
  #finalGeneration = 0;
  #rejections = 0;
  /** Until one is committed: what lies in the store may be what is wrong. */
  #isAnew = false;
  #evaluation: Promise<Readonly<Record<string, number>>> | undefined;
  #isLeaving = false;
  #isTold = false;

  constructor(ports: CoursePorts) {
    this.#ports = ports;
    this.#checkpointMs = this.#nowMs();
    this.#stallsTold = { atMs: this.#checkpointMs, stalledMs: 0 };
  }

  #nowMs(): number {
    return this.#ports.bus.clock.nowMs();
  }

  #epochOf(step: number): number {
    return (step * this.#ports.job().spec.batchSize) / this.#ports.compiled.samplesTrain;
  }

  pace(): Pace {
    const first = this.#commits[0];
    const last = this.#commits.at(-1);
    const steps = first && last ? last.next - first.next : 0;
    const stepMs = steps > 0 ? (last!.atMs - first!.atMs) / steps : 0;
    const { batchSize } = this.#ports.job().spec;
    const samplesPerSecond = stepMs > 0 ? (batchSize / stepMs) * 1000 : 0;
    return {
      epoch: this.#epochOf(this.#ports.membership().step),
      samplesPerSecond,
      stepMs,
      exchangeMs: meanOf(this.#exchangeMs),
      metrics: this.#metrics,
      inputStallShare: this.#inputStallShare(),
      gradientNoise: this.#ports.compute.gradientNoise,
      batchSize: this.#batchSize === batchSize ? undefined : this.#batchSize,
    };
  }

  /** The share of time since the last call in which the compute thread waited for data, 0 to 1. */
  #inputStallShare(): number {
    const before = this.#stallsTold;
    const { stalledMs } = this.#ports.compute;
    const atMs = this.#nowMs();
    this.#stallsTold = { atMs, stalledMs };
    return Math.min(1, (stalledMs - before.stalledMs) / Math.max(1, atMs - before.atMs));
  }

  /** An update was committed by the group. */
  committed({ step, next, metrics, agoMs, exchangeMs, isAtRest }: Committed): void {
    this.#metrics = metrics;
    this.#lastBegin = step;
    this.#notePace(next, agoMs);
    const { steps, saver, membership, compute } = this.#ports;
    const tookMs = exchangeMs ?? compute.sincePieceMs;
    if (tookMs !== undefined) keepLast(this.#exchangeMs, tookMs);
    saver.start(membership().members.length);
    if (next >= steps || !isAtRest) return;
    this.#checkpoint(step, next);
    if (this.#ports.membership().rank === 0 && this.#endsEpoch(step, next))
      this.#inBackground(this.#finishEpoch(Math.floor(this.#epochOf(next)), next));
  }

  /** What is due between two updates is done with the state as it is there. */
  mustStopBetween(step: number, next: number): boolean {
    return this.#isCheckpointDue(step, next) || this.#endsEpoch(step, next);
  }

  #endsEpoch(step: number, next: number): boolean {
    return Math.floor(this.#epochOf(next)) > Math.floor(this.#epochOf(step));
  }

  #isCheckpointDue(step: number, next: number): boolean {
    const { everySteps } = this.#ports.job().spec.checkpoint;
    return Math.floor(next / everySteps) > Math.floor(step / everySteps);
  }

  /** A pace is of one batch. */
  #notePace(next: number, agoMs: number): void {
    const batchSize = this.#ports.membership().updates.batchSizeAt(next);
    if (batchSize !== this.#batchSize) this.#commits = [];
    this.#batchSize = batchSize;
    this.#commits.push({ next, atMs: this.#nowMs() - agoMs });
    if (this.#commits.length > paceWindow) this.#commits.shift();
  }

  /**
   * Everybody writes a part where the number of steps says so. The time is one member's affair, since
   * no two clocks agree on a step: the first one writes all of it.
   */
  #checkpoint(before: number, step: number): void {
    const { everySeconds } = this.#ports.job().spec.checkpoint;
    const { generation, rank } = this.#ports.membership();
    const nowMs = this.#nowMs();
    if (this.#isCheckpointDue(before, step)) {
      this.#checkpointMs = nowMs;
      this.#inBackground(this.#writeOwnPart(step));
    } else if (
      rank === 0 &&
      everySeconds !== undefined &&
      nowMs - this.#checkpointMs >= everySeconds * 1000
    ) {
      this.#checkpointMs = nowMs;
      this.#inBackground(this.#write({ step, generation, part: 0, parts: 1 }));
    }
  }

  async #finishEpoch(epoch: number, step: number): Promise<void> {
    const { generation } = this.#ports.membership();
    const metrics = await this.#ports.compute.evaluate();
    this.#ports.ledger.epochFinished({ generation, epoch, step, metrics });
  }

  #writeOwnPart(step: number, attempt = 0): Promise<string> {
    const { generation, rank, members } = this.#ports.membership();
    return this.#write({ step, generation, part: rank, parts: members.length, attempt });
  }

  /** The final checkpoint was rejected: without one the job cannot end. */
  #writeAgain(step: number, reason: string): void {
    this.#rejections += 1;
    if (this.#rejections <= rejectionsMax) {
      this.#inBackground(this.#writeOwnPart(step, this.#rejections));
      return;
    }
    const sentence = `the final checkpoint was rejected ${this.#rejections} times: ${reason}`;
    this.#ports.onFailed(new AppError("checkpoint-damaged", sentence), step);
  }

  #write(place: Parameters<typeof writePart>[1]): Promise<string> {
    const { ledger, me } = this.#ports;
    return writePart(
      {
        ...this.#ports,
        job: this.#ports.job(),
        workerId: me.workerId,
        toldUpTo: (step) => ledger.toldUpTo(step),
      },
      { ...place, isAnew: this.#isAnew },
    );
  }

  #inBackground(work: Promise<unknown>): void {
    work.catch((error: unknown) => this.#ports.log("background work failed", { err: error }));
  }

  /** All steps are committed: once for each generation that reaches this point. */
  trained(): void {
    const { membership, steps, compute, ledger } = this.#ports;
    const { generation, rank } = membership();
    if (this.#finalGeneration === generation) return;
    this.#finalGeneration = generation;
    ledger.committed(steps);
    const isWritten = this.#ports.job().checkpoints.some((checkpoint) => checkpoint.final);
    if (!isWritten) void this.#writeFinalPart(generation);
    if (rank === 0) this.#evaluation ??= compute.evaluate();
    if (isWritten) this.#inBackground(this.#tellFinish());
  }

  /** Without it the job cannot end: tried again while the generation stands. */
  async #writeFinalPart(generation: number): Promise<void> {
    const { membership, steps, log } = this.#ports;
    const isOn = () => membership().generation === generation && membership().state !== "gone";
    while (isOn()) {
      try {
        await this.#writeOwnPart(steps);
        return;
      } catch (error) {
        log("the final checkpoint could not be written; trying again", { err: error });
        await this.#ports.bus.clock.delay(finalRetryMs);
      }
    }
  }

  /** The first member tells the end once the final checkpoint is committed. */
  async #tellFinish(): Promise<void> {
    const { membership, job, steps, ledger, compute } = this.#ports;
    const final = job().checkpoints.find((checkpoint) => checkpoint.final);
    if (membership().rank !== 0 || membership().step < steps || final === undefined || this.#isTold)
      return;
    this.#isTold = true;
    this.#evaluation ??= compute.evaluate();
    const metrics = await this.#evaluation;
    const epoch = Math.floor(this.#epochOf(steps));
    if (epoch > Math.floor(this.#epochOf(this.#lastBegin ?? steps - 1))) {
      ledger.epochFinished({ generation: membership().generation, epoch, step: steps, metrics });
    }
    ledger.finished({
      generation: membership().generation,
      step: steps,
      weightsSha256: final.weightsSha256,
      metrics,
    });
  }

  /** The log's words on this job. */
  observe(event: StoredEvent): void {
    if (event.name === "checkpoint.committed") this.#isAnew = false;
    const isDoubtful = ["checkpoint.rejected", "checkpoint.passed-over"].includes(event.name);
    if (isDoubtful) this.#isAnew = true;
    if (event.name === "checkpoint.committed" && event.payload.final)
      this.#inBackground(this.#tellFinish());
    if (
      event.name === "checkpoint.rejected" &&
      event.payload.step === this.#ports.steps &&
      this.#ports.membership()?.step === this.#ports.steps
    ) {
      this.#writeAgain(event.payload.step, event.payload.reason);
    }
    const isOver = ["training.finished", "training.failed", "job.failed"].includes(event.name);
    if (isOver) this.#ports.onEnded("finished");
  }

  /** Leaves in good order: the others go on without this worker; the last one writes a checkpoint first. */
  async leave(): Promise<void> {
    if (this.#isLeaving) return;
    this.#isLeaving = true;
    const membership = this.#ports.membership();
    if (membership.state === "joining") return this.#ports.onEnded("left");
    while (membership.state !== "gone") {
      if (membership.members.length === 1 && membership.state === "member")
        return this.#leaveLast(membership);
      membership.change.leaving.add(this.#ports.me.workerId);
      void membership.change.run();
      await this.#ports.bus.clock.delay(leaveRetryMs);
    }
  }

  async #leaveLast(membership: GroupMembership): Promise<void> {
    membership.stopHere();
    const { step, generation } = membership;
    const hasIt = this.#ports.job().checkpoints.some((checkpoint) => checkpoint.step === step);
    if (!hasIt && step > 0) {
      const place = { step, generation, part: 0, parts: 1, isFarewell: true };
      const write = this.#write(place).catch((error: unknown) =>
        this.#ports.log("the last checkpoint could not be written", { err: error }),
      );
      await within(this.#ports.bus.clock, write, this.#ports.farewellMs);
    }
    this.#ports.onEnded("left");
  }
}

function keepLast(values: number[], value: number): void {
  values.push(value);
  if (values.length > paceWindow) values.shift();
}

function meanOf(values: readonly number[]): number | undefined {
  return values.length === 0 ? undefined : values.reduce((a, b) => a + b, 0) / values.length;
}
