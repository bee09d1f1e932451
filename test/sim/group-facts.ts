/**
 * The log of a group's job, as its workers append to it and follow it, and what the checkpoint service
 * makes of their parts. The rules of appending are those of `libs/bus/src/append.ts`; the bus itself is
 * simulated in `platform.ts`.
 */
import { auditJob } from "@coxswain/audit";
import type { Appended, AppendOptions } from "@coxswain/bus";
import { AppError, type JobCheckpoint, type JobId } from "@coxswain/domain";
import {
  encodeEvent,
  type NewEvent,
  type PayloadOf,
  type StoredEvent,
  subjectOf,
} from "@coxswain/events";
import { type Store, storePaths } from "@coxswain/store";
import { commitParts } from "../../services/checkpoint/src/commit-parts.ts";
import { decideCommit } from "../../services/checkpoint/src/decide/decide-commit.ts";
import { ToldParts, type Written } from "../../services/checkpoint/src/decide/told-parts.ts";
import type { ExchangeMode } from "../../services/trainer/src/decide/shards.ts";
import { type Random, randomFor } from "./lib/random.ts";
import type { Stage } from "./lib/stage.ts";
import { Disk, storeOn } from "./platform/disk.ts";

export const jobId = "job" as JobId;

export interface FactsOptions {
  readonly stage: Stage & { readonly isCalm: boolean };
  readonly seed: number;
  readonly shards: number;
  readonly batchSize: number;
  readonly exchange: ExchangeMode;
  readonly checkpointEverySteps: number;
}

/** Who appends. */
interface Appender {
  readonly isBusAway: boolean;
  later(delayMs: number, action: () => void): unknown;
}

/** Until it is told that the bus is away. */
const awayMs = 2000;

export class Facts {
  readonly #options: FactsOptions;
  readonly #random: Random;
  readonly events: StoredEvent[] = [];
  readonly disk = new Disk();
  /** By event id, and by subject: the last sequence. */
  readonly #known = new Map<string, StoredEvent>();
  readonly #last = new Map<string, number>();
  readonly #parts = new ToldParts();
  #checkpoints: readonly JobCheckpoint[] = [];
  #judging: Promise<void> = Promise.resolve();
  /** By the weights' hash: the step of each state that was saved. */
  readonly #savedSteps = new Map<string, number>();
  /** Steps below are committed, whoever has done it. */
  committed = 0;
  /** Steps below are told. */
  toldStep = 0;
  /** The log has grown. */
  onGrown: () => void = () => undefined;

  constructor(options: FactsOptions) {
    this.#options = options;
    this.#random = randomFor(options.seed, "facts");
    const { shards, batchSize, exchange, checkpointEverySteps } = options;
    const checkpoint = { everySteps: checkpointEverySteps, keep: 3 };
    const spec = { seed: 1, batchSize, shards, exchange, checkpoint };
    const payload = { job: { metadata: { name: jobId }, spec } };
    this.#put({
      ...{ name: "job.submitted", jobId, id: `${jobId}.submitted`, source: "job-api", payload },
    } as unknown as NewEvent);
  }

  latency(): number {
    const isSlow = this.#random() < 0.05 && !this.#options.stage.isCalm;
    return 0.2 + this.#random() * (isSlow ? 80 : 3);
  }

  /** As over a connection that may break in between: stored and not heard of, or asked for again. */
  append(who: Appender, event: NewEvent, options: AppendOptions = {}): Promise<Appended> {
    const { stage } = this.#options;
    const copy = JSON.parse(JSON.stringify(event)) as NewEvent;
    return new Promise((resolve, reject) => {
      const away = () => who.later(awayMs, () => reject(new AppError("bus-unavailable", "away")));
      const attempt = () => {
        if (who.isBusAway) return void away();
        stage.at(this.latency(), () => {
          try {
            const appended = this.#store(copy, options.expectLastSequence);
            const draw = stage.isCalm ? 1 : this.#random();
            if (draw < 0.02) away();
            else if (draw < 0.04) who.later(awayMs, attempt);
            else who.later(this.latency(), () => resolve(appended));
          } catch (error) {
            who.later(this.latency(), () => reject(error as Error));
          }
        });
      };
      attempt();
    });
  }

  /** The server looks at the last sequence first, then at the id. @throws AppError `conflict` */
  #store(event: NewEvent, expected: number | undefined): Appended {
    const subject = subjectOf(event.name, event.jobId);
    const known = this.#known.get(event.id);
    if (known !== undefined) this.#checkSame(known, event);
    const isConflict = expected !== undefined && expected !== (this.#last.get(subject) ?? 0);
    if (isConflict) {
      const winner = this.events.find(
        (one) => one.sequence > expected && subjectOf(one.name, one.jobId) === subject,
      );
      if (winner?.id !== event.id) throw new AppError("conflict", `not behind ${expected}`);
      return { sequence: winner.sequence, duplicate: true };
    }
    if (known !== undefined) return { sequence: known.sequence, duplicate: true };
    encodeEvent(event, 0); // Checks it.
    return { sequence: this.#put(event).sequence, duplicate: false };
  }

  /** What is told once more is taken for what was told first. */
  #checkSame(known: StoredEvent, again: NewEvent): void {
    if (known.name !== "training.generation-formed" || again.name !== known.name) return;
    const textOf = ({ fromStep, members }: PayloadOf<"training.generation-formed">) =>
      `from step ${fromStep}: ${members.map(({ workerId }) => workerId)}`;
    this.#options.stage.check(textOf(again.payload), textOf(known.payload), `${known.id} is one`);
  }

  #put(event: NewEvent): StoredEvent {
    const { stage } = this.#options;
    const sequence = this.events.length + 1;
    const stored = { ...event, sequence, timeMs: Math.floor(stage.nowMs) } as StoredEvent;
    this.events.push(stored);
    this.#known.set(event.id, stored);
    this.#last.set(subjectOf(event.name, event.jobId), sequence);
    stage.note(`event ${sequence} ${event.id} ${JSON.stringify(briefOf(stored))}`);
    this.#judge(stored);
    this.onGrown();
    return stored;
  }

  #judge(event: StoredEvent): void {
    this.#parts.observe(event);
    if (event.name === "training.progressed") {
      const { stepTo } = event.payload;
      this.toldStep = stepTo;
      if (stepTo > this.committed)
        this.#options.stage.fail(
          `step ${stepTo - 1} is told, and ${this.committed} steps are committed`,
        );
    }
    if (event.name === "checkpoint.written") {
      const { payload, sequence } = event;
      this.#options.stage.at(this.latency(), () => {
        this.#judging = this.#judging.then(() => this.#commitParts(payload, sequence));
      });
    }
  }

  /** A worker's process has ended, and its agent says so. */
  lost(workerId: string): void {
    const payload = { workerId, nodeId: "n", error: { code: "worker-failed", message: "gone" } };
    const id = `${jobId}.worker.lost.${workerId}`;
    this.#store({ name: "worker.lost", jobId, id, source: "trainer", payload }, undefined);
  }

  // --- checkpoints ---

  store(clock: Parameters<typeof storeOn>[1]): Store {
    return storeOn(this.disk, clock);
  }

  /** A state that a worker is about to save. */
  saved(weightsSha256: string, step: number): void {
    this.#savedSteps.set(weightsSha256, step);
  }

  stepOf(weightsSha256: string): number {
    return this.#savedSteps.get(weightsSha256)!;
  }

  async #commitParts(part: Written, sequence: number): Promise<void> {
    const { stage } = this.#options;
    const decision = decideCommit({
      written: this.#parts.upTo(jobId, part, sequence),
      committed: this.#checkpoints,
      isInPlace: ({ path, isReused, ...one }) =>
        isReused
          ? storePaths.isPart(jobId, path)
          : path === storePaths.part(jobId, part.step, part.generation, one.part, one.parts),
    });
    // Those of a generation that only the dead had agreed on, and of another one of its number.
    if (decision.kind === "reject") return this.#reject(part, sequence, decision.reason);
    if (decision.kind !== "verify") return;
    const store = this.store({
      delay: (ms) => new Promise((resolve) => stage.at(ms, () => resolve())),
    });
    const payload = await commitParts(store, jobId, decision.facts, decision.parts);
    const id = `${jobId}.checkpoint.committed.${payload.step}.g${payload.generation}`;
    this.#checkpoints = [...this.#checkpoints, { ...payload, committedAtMs: stage.nowMs }];
    this.#store(
      { name: "checkpoint.committed", jobId, id, source: "checkpoint", payload },
      undefined,
    );
  }

  #reject({ step, generation }: Written, sequence: number, reason: string): void {
    const id = `${jobId}.checkpoint.rejected.${step}.g${generation}.${sequence}`;
    const payload = { step, generation, reason };
    this.#store(
      { name: "checkpoint.rejected", jobId, id, source: "checkpoint", payload },
      undefined,
    );
  }

  /** What `cox verify` says of the log: what is wrong, or nothing. */
  audit(): string | undefined {
    const { violations } = auditJob(this.events);
    if (violations.length === 0) return undefined;
    return violations.map(({ kind, message }) => `${kind}: ${message}`).join("; ");
  }
}

function briefOf(event: StoredEvent): object {
  switch (event.name) {
    case "training.generation-formed": {
      const { fromStep, cause, members } = event.payload;
      return { fromStep, cause, members: members.map(({ workerId }) => workerId) };
    }
    case "checkpoint.committed":
      return { step: event.payload.step };
    default:
      return {};
  }
}
