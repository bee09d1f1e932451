/**
 * A job's workers. What they tell the log, when they write checkpoints, how they leave and end is
 * the real code (`Ledger`, `Course`, `writePart`, `latestWholeCheckpoint`); the group's agreement
 * and exchange are not here: the group agrees at once (`group-world.ts` simulates them for real).
 */
import { AppError, type JobId } from "@coxswain/domain";
import type { Layout } from "@coxswain/engine";
import { latestWholeCheckpoint, sha256Of } from "@coxswain/store";
import { assignShards } from "../../../services/trainer/src/decide/shards.ts";
import { VerdictPatience } from "../../../services/trainer/src/decide/verdict-patience.ts";
import type { Compute } from "../../../services/trainer/src/worker/compute.ts";
import type { Compiled } from "../../../services/trainer/src/worker/compute-messages.ts";
import { Course } from "../../../services/trainer/src/worker/course.ts";
import { followJob, type JobContext } from "../../../services/trainer/src/worker/job-context.ts";
import { type Generation, Ledger } from "../../../services/trainer/src/worker/ledger.ts";
import type { GroupMembership } from "../../../services/trainer/src/worker/member.ts";
import { type Disk, storeOn } from "./disk.ts";
import type { SimProcess } from "./process.ts";
import { simulatedSaver } from "./saver.ts";

const parameterFloats = 32;
const layout: Layout = {
  segments: [{ name: "w", shape: [parameterFloats], offset: 0, size: parameterFloats }],
  parameterFloats,
  metricNames: ["loss"],
  vectorFloats: 48,
  slotCount: 0,
};
const compiled = {
  ...{ kind: "compiled", identity: "sim 1", hash: "h", mode: "recorded", layout },
  ...{ samplesTrain: 640, samplesTest: 10, modelTopology: undefined },
} as const satisfies Compiled;
export const engine = { name: "wasm", identity: compiled.identity };

/** The state after so many steps; half of it is frozen, so that its parts are written once. */
const stateAt = (step: number) =>
  Float32Array.from(
    { length: parameterFloats },
    (_, i) => (i < parameterFloats / 2 ? step : 0) + i,
  );
export const weightsAt = (step: number) => sha256Of(new Uint8Array(stateAt(step).buffer));

const stepMs = 60;
/** A member that is silent for longer is left out. */
const heartbeatTimeoutMs = 1000;
const retryMs = 50;

export type WorkerEnd = "left" | "finished" | "stale-generation" | "failed";

export interface WorkerOptions {
  readonly process: SimProcess;
  readonly disk: Disk;
  readonly group: Group;
  readonly jobId: JobId;
  readonly workerId: string;
  readonly nodeId: string;
  readonly onEnd: (how: WorkerEnd, error?: AppError) => void;
}

/** Who trains a job together at this moment, and how far they are. */
export class Group {
  generation = 0;
  step = 0;
  /** The last one leaves: no step any more. */
  isStopped = false;
  members: readonly Trainer[] = [];
  generations: readonly Generation[] = [];

  /** Makes these the members, from this step on. */
  form(
    members: readonly Trainer[],
    how: Pick<Generation, "cause" | "checkpointStep"> & { readonly fromStep: number },
  ): void {
    this.generation += 1;
    this.isStopped = false;
    this.step = how.fromStep;
    const joined = members.filter((member) => !this.members.includes(member));
    this.members = members;
    if (members.length === 0) return;
    const shares = assignShards(members[0]!.job.spec.shards, members.length);
    const formed: Generation = {
      ...how,
      generation: this.generation,
      members: members.map(({ workerId, nodeId }, rank) => ({
        ...{ workerId, nodeId },
        ...{ shardFrom: shares[rank]!.from, shardTo: shares[rank]!.to },
      })),
      joined: joined.map(({ workerId }) => workerId),
    };
    for (const member of joined) member.ledger.inherit(this.generations);
    this.generations = [...this.generations, formed];
    for (const [rank, member] of members.entries()) {
      if (joined.includes(member)) member.ledger.startsAt(how.fromStep);
      member.ledger.formed(formed, rank === 0);
    }
    if (this.step >= members[0]!.steps) for (const member of members) member.trained();
  }

  leave(member: Trainer, cause: "leave" | "loss"): void {
    if (!this.members.includes(member)) return;
    const rest = this.members.filter((other) => other !== member);
    if (rest.length > 0) this.form(rest, { cause, fromStep: this.step });
    else this.members = [];
  }

  /** One step, by the first member's clock, when everybody runs. */
  beat(): void {
    const [first] = this.members;
    if (first === undefined || this.members.some((member) => member.process.isPaused)) return;
    if (this.step >= first.steps || this.isStopped) return;
    const step = this.step;
    this.step += 1;
    for (const member of this.members) member.committed(step);
    if (this.step === first.steps) for (const member of this.members) member.trained();
  }
}

export class Trainer {
  readonly #options: WorkerOptions;
  readonly workerId: string;
  readonly nodeId: string;
  readonly process: SimProcess;
  ledger!: Ledger;
  #course!: Course;
  #context: JobContext | undefined;
  #isEnded = false;
  readonly #patience = new VerdictPatience();
  readonly #ended = Promise.withResolvers<void>();

  constructor(options: WorkerOptions) {
    this.#options = options;
    this.process = options.process;
    this.workerId = options.workerId;
    this.nodeId = options.nodeId;
  }

  get job() {
    return this.#context!.job();
  }

  get steps(): number {
    return this.job.spec.steps!;
  }

  /** Trains until it ends; says an expected failure as the real worker does. */
  async run(): Promise<void> {
    try {
      await this.#run();
      await this.#ended.promise;
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      this.#fail(error);
      await this.#ended.promise;
    }
  }

  async #run(): Promise<void> {
    const { process, jobId, group, disk } = this.#options;
    const { bus, clock, stop } = process;
    const context = await followJob(bus, jobId, stop.signal);
    this.#context = context;
    if (context.job().finished !== undefined) return this.end("finished");
    const secret = await this.#secret();
    process.stage.check(secret !== undefined, true, `${jobId} was placed with a secret`);
    const store = storeOn(disk, clock);
    this.#open(context);
    void this.ledger.run();
    while (!this.#isEnded && !group.members.includes(this)) {
      if (group.members.length > 0) this.#join();
      else await this.#found(store);
      await clock.delay(retryMs);
    }
  }

  async #secret() {
    const { bus, clock } = this.process;
    for (;;) {
      const found = await bus
        .bucket("secrets")
        .get(this.#options.jobId)
        .catch(() => "away" as const);
      if (found !== "away") return found;
      await clock.delay(retryMs);
    }
  }

  #open(context: JobContext): void {
    const { process, disk, group, jobId, workerId } = this.#options;
    const { bus, clock } = process;
    const steps = this.steps;
    const log = (sentence: string, fields: object) =>
      process.stage.note(`${workerId} ${sentence} ${JSON.stringify(fields)}`);
    this.ledger = new Ledger({
      ...{ bus, jobId, steps },
      pace: () => this.#course.pace(),
      onError: (error) => log("the ledger could not be told", { error: String(error) }),
    });
    this.#course = new Course({
      ...{ bus, steps, compiled, log },
      ledger: this.ledger,
      saver: simulatedSaver({ store: storeOn(disk, clock), clock }, () => ({
        floats: stateAt(group.step),
        weightsSha256: weightsAt(group.step),
      })),
      me: { workerId, nodeId: this.nodeId, address: workerId },
      farewellMs: 10_000,
      compute: this.#compute(),
      job: context.job,
      membership: () => this.#membership(),
      onEnded: (reason) => this.end(reason),
      onFailed: (error) => this.#fail(error),
    });
    context.tell([this.ledger, this.#course]);
  }

  #compute(): Compute {
    return {
      evaluate: async () => ({ accuracy: 1 }),
      stalledMs: 0,
    } as unknown as Compute;
  }

  #membership(): GroupMembership {
    const { group } = this.#options;
    const isMember = group.members.includes(this);
    return {
      ...{ step: group.step, generation: group.generation, members: group.members },
      rank: group.members.indexOf(this),
      updates: { batchSizeAt: () => undefined },
      state: isMember ? "member" : this.#isEnded ? "gone" : "joining",
      stopHere: () => {
        group.isStopped = true;
      },
      change: {
        leaving: new Set(),
        run: async () => {
          group.leave(this, "leave");
          this.end("left");
        },
      },
    } as unknown as GroupMembership;
  }

  #join(): void {
    const { group } = this.#options;
    if (group.members.length >= this.job.spec.shards || group.isStopped) return;
    group.form([...group.members, this], { cause: "join", fromStep: group.step });
  }

  async #found(store: ReturnType<typeof storeOn>): Promise<void> {
    const { group } = this.#options;
    const told = this.job;
    if (this.#patience.awaited(told, this.process.clock.nowMs()) !== undefined) return;
    const restored = await latestWholeCheckpoint(store, told.checkpoints, () => undefined).catch(
      () => "away" as const,
    );
    if (restored === "away" || group.members.length > 0 || this.#isEnded) return;
    const fromStep = restored?.manifest.step ?? 0;
    this.process.stage.check(
      restored?.manifest.weightsSha256 ?? weightsAt(0),
      weightsAt(fromStep),
      `${this.workerId} restores the bits of step ${fromStep}`,
    );
    group.generation = Math.max(group.generation, told.generation);
    const cause = group.generation === 0 ? "start" : "restore";
    group.form([this], {
      ...{ cause, fromStep },
      ...(restored === undefined ? {} : { checkpointStep: fromStep }),
    });
  }

  committed(step: number): void {
    this.ledger.committed(step + 1);
    const once = { agoMs: 0, exchangeMs: undefined, isAtRest: true };
    this.#course.committed({ step, next: step + 1, metrics: { loss: 1 }, ...once });
  }

  trained(): void {
    this.#course.trained();
  }

  /** As SIGTERM. */
  leave(): void {
    this.process.act(() => {
      if (this.#context === undefined || this.#course === undefined) this.end("left");
      else void this.#course.leave();
    });
  }

  #fail(error: AppError): void {
    const { bus } = this.process;
    const { jobId, workerId, group } = this.#options;
    const payload = {
      generation: group.generation,
      error: { code: error.code, message: error.message.slice(0, 3000), workerId },
    };
    const id = `${jobId}.training.failed.${workerId}`;
    void bus
      .append({ name: "training.failed", jobId, id, source: "trainer", payload })
      .catch(() => undefined)
      .then(() => this.end("failed", error));
  }

  end(how: WorkerEnd, error?: AppError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    const { group, onEnd } = this.#options;
    onEnd(how, error);
    group.leave(this, how === "left" ? "leave" : "loss");
    this.process.kill(how);
  }

  /** Its process has ended. */
  gone(): void {
    this.#isEnded = true;
    this.#options.group.leave(this, "loss");
    this.ledger?.stop();
  }

  /** Its heartbeats stop: the others go on without it. */
  isSilentFor(ms: number): void {
    const { group } = this.#options;
    if (ms < heartbeatTimeoutMs || group.members.length < 2) return;
    this.process.stage.at(heartbeatTimeoutMs, () => {
      if (!this.process.isPaused || this.#isEnded) return;
      group.leave(this, "loss");
      // When it wakes up it learns that its group went on without it.
      this.process.clock.delay(retryMs).then(
        () => this.end("stale-generation"),
        () => undefined,
      );
    });
  }
}

/** Steps go on for as long as somebody trains. */
export function keepBeating(stage: SimProcess["stage"], group: Group): void {
  stage.at(stepMs, () => {
    group.beat();
    keepBeating(stage, group);
  });
}
