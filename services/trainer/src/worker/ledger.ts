/**
 * What the job's first member tells the log: generations, committed steps, epochs, the end.
 *
 * The log is the audit's only source, so its ranges of steps must meet without gap or overlap,
 * whoever tells them and whenever the bus was away. So every `training.*` fact is appended with the
 * last sequence of its subject: a first member that has been replaced cannot say anything late, and
 * its successor goes on where the log ends. Nothing is queued: what to say next follows from what
 * this member knows and what the log already holds.
 *
 * A generation that was planned ahead may be replaced before its first step is reached. So one is told
 * once this member has reached its first step, and never when a later one begins before that step:
 * the log has no place for steps that nobody has committed.
 */
import { type Bus, within } from "@coxswain/bus";
import { AppError, type BatchChange, type JobId } from "@coxswain/domain";
import type { NewEvent, PayloadOf, StoredEvent } from "@coxswain/events";
import type { GradientNoise } from "@coxswain/goodput";
import type { Proposal } from "../decide/agreement.ts";

export interface Generation {
  readonly generation: number;
  readonly fromStep: number;
  readonly cause: Proposal["cause"];
  readonly members: readonly {
    readonly workerId: string;
    readonly nodeId: string;
    readonly shardFrom: number;
    readonly shardTo: number;
  }[];
  readonly joined: readonly string[];
  readonly batches?: readonly BatchChange[] | undefined;
  readonly checkpointStep?: number | undefined;
  readonly agreedMs?: number | undefined;
}

/** How training goes at this moment, for the progress events. */
export interface Pace {
  readonly epoch: number;
  readonly samplesPerSecond: number;
  readonly stepMs: number;
  /** Of each update, from this member's last piece to the whole sum; undefined: it has seen none. */
  readonly exchangeMs?: number | undefined;
  readonly metrics: Readonly<Record<string, number>>;
  readonly inputStallShare: number;
  readonly gradientNoise?: GradientNoise | undefined;
  /** Samples of an update, where it is not the job's batch. */
  readonly batchSize?: number | undefined;
}

export interface LedgerPorts {
  readonly bus: Bus;
  readonly jobId: JobId;
  readonly steps: number;
  readonly pace: () => Pace;
  readonly onError: (error: unknown) => void;
}

const intervalMs = 500;
const retryMs = 200;
/** Generations that are remembered; older ones have long been told. */
const generationsMax = 200;

type TrainingName =
  | "training.generation-formed"
  | "training.progressed"
  | "training.epoch-finished"
  | "training.finished";

export class Ledger {
  readonly #ports: LedgerPorts;
  #generations: Generation[] = [];
  /** Steps below are committed, as far as this member knows. */
  #step = 0;
  #isTeller = false;
  #toldSequence = 0;
  #toldStep = 0;
  #toldGeneration = 0;
  #epochs: PayloadOf<"training.epoch-finished">[] = [];
  #finished: PayloadOf<"training.finished"> | undefined;
  #wake = Promise.withResolvers<void>();
  #isStopped = false;
  #isUrgent = false;

  constructor(ports: LedgerPorts) {
    this.#ports = ports;
  }

  /** The log holds every step below. */
  get toldStep(): number {
    return this.#toldStep;
  }

  get generations(): readonly Generation[] {
    return this.#generations;
  }

  /** Generations that a donor lived through. */
  inherit(generations: readonly Generation[]): void {
    this.#generations = [...generations];
  }

  /** The log's own words, in order. */
  observe(event: StoredEvent): void {
    if (!event.name.startsWith("training.") || event.sequence <= this.#toldSequence) return;
    this.#toldSequence = event.sequence;
    if (event.name === "training.progressed") this.#toldStep = event.payload.stepTo;
    if (event.name === "training.generation-formed") {
      const { generation } = event.payload;
      this.#toldGeneration = generation;
      // Others have gone on without this member.
      if (generation > (this.#generations.at(-1)?.generation ?? 0)) this.#isTeller = false;
      if (event.payload.cause === "restore") this.#toldStep = event.payload.fromStep;
    }
    if (event.name === "training.epoch-finished") {
      const { epoch } = event.payload;
      this.#epochs = this.#epochs.filter((finished) => finished.epoch > epoch);
    }
    if (event.name === "training.finished") this.#finished = undefined;
    this.#rouse();
  }

  formed(generation: Generation, isTeller: boolean): void {
    // Later ones it has followed, of members that are dead and were cut off from the record.
    const before = this.#generations.filter((one) => one.generation < generation.generation);
    this.#generations = [...before, generation].slice(-generationsMax);
    this.#isTeller = isTeller;
    this.#urge();
  }

  /** Steps below are committed. */
  committed(step: number): void {
    const before = this.#step;
    this.#step = step;
    const fromStep = this.#generations.at(-1)?.fromStep ?? 0;
    // Somebody waits to see whether it works, or who trains.
    if (before === 0 || (before < fromStep && step >= fromStep)) this.#urge();
  }

  /** The state was restored or received: steps below are committed. */
  startsAt(step: number): void {
    this.#step = step;
  }

  epochFinished(payload: PayloadOf<"training.epoch-finished">): void {
    this.#epochs = [...this.#epochs, payload].slice(-100);
    this.#urge();
  }

  finished(payload: PayloadOf<"training.finished">): void {
    this.#finished = payload;
    this.#urge();
  }

  /**
   * Resolves when the log holds every step below `step`, of the generations that this member knows: what
   * one before a restore has done does not count.
   *
   * @throws AppError `stale-generation`: this worker ends before that
   */
  async toldUpTo(step: number): Promise<void> {
    this.#urge();
    while (this.#toldStep < step || this.#untold() !== undefined) {
      if (this.#isStopped)
        throw new AppError("stale-generation", `the worker ends before step ${step} is told`);
      await this.#pause(retryMs);
    }
  }

  /** Until something is told or known, so long at most. */
  async #pause(ms: number): Promise<void> {
    await within(this.#ports.bus.clock, this.#wake.promise, ms);
  }

  #urge(): void {
    this.#isUrgent = true;
    this.#rouse();
  }

  #rouse(): void {
    this.#wake.resolve();
    this.#wake = Promise.withResolvers();
  }

  stop(): void {
    this.#isStopped = true;
    this.#rouse();
  }

  /** Tells until stopped. */
  async run(): Promise<void> {
    const { clock } = this.#ports.bus;
    let dueMs = -Infinity;
    while (!this.#isStopped) {
      // Rounded up: a timer that rings a hair too early would be set again and again.
      const waitMs = this.#isUrgent ? 0 : Math.max(0, Math.ceil(dueMs - clock.nowMs()));
      if (waitMs > 0) await this.#pause(waitMs);
      const isDue = this.#isUrgent || clock.nowMs() >= dueMs;
      this.#isUrgent = false;
      if (!isDue || !this.#isTeller) {
        if (!this.#isTeller) await this.#pause(intervalMs);
        continue;
      }
      dueMs = clock.nowMs() + intervalMs;
      await this.#tellAll();
    }
  }

  async #tellAll(): Promise<void> {
    while (this.#isTeller && !this.#isStopped) {
      const event = this.#next();
      if (event === undefined || !(await this.#tell(event))) return;
    }
  }

  /** False when the bus is away: later. */
  async #tell(event: NewEvent): Promise<boolean> {
    try {
      const options = { expectLastSequence: this.#toldSequence };
      const { sequence, duplicate } = await this.#ports.bus.append(event, options);
      // The log holds it already: its own copy will be observed in its place.
      if (duplicate) this.#forget(event);
      this.observe({ ...event, sequence, timeMs: this.#ports.bus.clock.wallMs() } as StoredEvent);
      return true;
    } catch (error) {
      if (!(error instanceof AppError) || !error.retryable) this.#ports.onError(error);
      // Somebody else told something first, or the bus is away: look at the log again.
      await this.#pause(retryMs);
      return !(error instanceof AppError) || error.code === "conflict";
    }
  }

  #forget(event: NewEvent): void {
    if (event.name === "training.epoch-finished") this.#epochs = this.#epochs.slice(1);
    if (event.name === "training.finished") this.#finished = undefined;
  }

  /** The next fact that the log lacks. */
  #next(): NewEvent | undefined {
    const untold = this.#untold();
    if (untold !== undefined) {
      const isBehind =
        untold.cause !== "restore" && this.#toldStep < untold.fromStep && this.#toldGeneration > 0;
      return isBehind ? this.#progress(untold.fromStep) : this.#formedEvent(untold);
    }
    if (this.#toldStep < this.#step) return this.#progress(this.#step);
    const epoch = this.#epochs[0];
    if (epoch !== undefined)
      return this.#event(
        "training.epoch-finished",
        `epoch.${epoch.epoch}.g${epoch.generation}`,
        epoch,
      );
    if (this.#finished !== undefined)
      return this.#event(
        "training.finished",
        `finished.g${this.#finished.generation}`,
        this.#finished,
      );
    return undefined;
  }

  /** The first generation that the log lacks, of those that have begun. */
  #untold(): Generation | undefined {
    const lacking = this.#generations.filter((one) => one.generation > this.#toldGeneration);
    return lacking.find(
      ({ fromStep }, at) =>
        fromStep <= this.#step &&
        lacking.slice(at + 1).every((later) => later.fromStep >= fromStep),
    );
  }

  #formedEvent({
    generation,
    fromStep,
    cause,
    members,
    checkpointStep,
    agreedMs,
    batches,
  }: Generation): NewEvent {
    const optional = {
      ...(checkpointStep === undefined ? {} : { checkpointStep }),
      ...(agreedMs === undefined ? {} : { agreedMs }),
      ...(batches === undefined ? {} : { batches: [...batches] }),
    };
    return this.#event("training.generation-formed", `formed.${generation}`, {
      generation,
      fromStep,
      cause,
      members: [...members],
      ...optional,
    });
  }

  #progress(stepTo: number): NewEvent {
    const generation = this.#toldGeneration;
    const { gradientNoise, batchSize, exchangeMs, ...pace } = this.#ports.pace();
    const workers =
      this.#generations.find((formed) => formed.generation === generation)?.members.length ?? 1;
    return this.#event(
      "training.progressed",
      `progressed.${this.#toldStep}-${stepTo}.g${generation}`,
      {
        generation,
        stepFrom: this.#toldStep,
        stepTo,
        steps: this.#ports.steps,
        workers,
        ...pace,
        ...(exchangeMs === undefined ? {} : { exchangeMs }),
        ...(gradientNoise === undefined ? {} : { gradientNoise }),
        ...(batchSize === undefined ? {} : { batchSize }),
      },
    );
  }

  #event<Name extends TrainingName>(name: Name, id: string, payload: PayloadOf<Name>): NewEvent {
    const { jobId } = this.#ports;
    return { name, jobId, id: `${jobId}.training.${id}`, source: "trainer", payload } as NewEvent;
  }
}
