/**
 * The compute thread of a worker: gradients of the own shards, added up the tree, and the optimizer.
 * It blocks while it computes; between two shards it looks for newer orders.
 */
import { setSourceMapsSupport } from "node:module";
import { setImmediate as breathe } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { AppError, assert } from "@coxswain/domain";
import { type CompiledProgram, tensorRanges } from "@coxswain/engine";
import { atBatch } from "@coxswain/goodput";
import type { Bells } from "@coxswain/shared-memory";
import { sha256Of } from "@coxswain/store";
import { type BatchPlace, placesOf, updatesAfter } from "../decide/load-queue.ts";
import { halvesOf, type Piece } from "../decide/shards.ts";
import { GroupExchange } from "../exchange/group-exchange.ts";
import { buildKernels, type Kernels } from "../exchange/kernels.ts";
import { beginWrite, copyState, metricsIn, type Vectors, vectorsOf } from "../exchange/memory.ts";
import { Feed } from "../feed/feed.ts";
import type {
  ComputeOptions,
  ComputeReply,
  ComputeRequest,
  ComputeUpdate,
  Work,
} from "./compute-messages.ts";
import { Gate, wallMs } from "./gate.ts";
import { finishJointly, type JointOrder } from "./joint-piece.ts";
import { nextInRun } from "./next-in-run.ts";
import { NoiseProbe } from "./noise-probe.ts";
import { ShardGradient } from "./shard-gradient.ts";
import { Snapshots } from "./snapshots.ts";
import { isWithin, Subtrees } from "./subtrees.ts";
import { type Opened, openInThread } from "./thread-program.ts";
import { TrainingState } from "./training-state.ts";

const port = parentPort!;
const options = workerData as ComputeOptions;
const reply = (message: ComputeReply, transfer: ArrayBuffer[] = []) =>
  port.postMessage(message, transfer);

type Order = Extract<ComputeRequest, { kind: "order" }>;

/** Commits of a run are told of so often at least, and at its end. */
const tellEveryMs = 10;
/** Updates of a run whose data the loader hears of at once. */
const updatesAhead = 4;

class Compute {
  readonly #program: CompiledProgram;
  readonly #feed: Feed;
  readonly #gradient: ShardGradient;
  #vectors: Vectors | undefined;
  #snapshots: Snapshots | undefined;
  #kernels: Kernels | undefined;
  #state: TrainingState | undefined;
  readonly #bells: Bells | undefined;
  #exchange: GroupExchange | undefined;
  #gate: Gate | undefined;
  #toldAtMs = 0;
  /** The loader knows of the updates up to the one of this step. */
  #expectedTo = 0;
  #subtrees = new Subtrees(0);
  readonly #noise = new NoiseProbe(options.compile.shards, () => performance.now());
  #order: Order | undefined;
  /** What a planned generation begins with. */
  #coming: Extract<ComputeRequest, { kind: "expect" }> | undefined;
  #isRunning = false;
  /** Since the last piece was told. */
  #work = { shards: 0, ms: 0 };

  constructor({ program, bells }: Opened, feed: Feed) {
    this.#program = program;
    this.#bells = bells;
    this.#feed = feed;
    this.#gradient = new ShardGradient(program, feed);
  }

  receive(request: ComputeRequest): void {
    if (request.kind === "attach") {
      this.#snapshots = new Snapshots(request.saver);
      this.#vectors = vectorsOf(request.areas);
      this.#gate = new Gate(this.#program.layout.metricNames, request.gate);
      const { memory } = request.areas;
      this.#kernels = buildKernels(memory);
      const [program, vectors, snapshots] = [this.#program, this.#vectors, this.#snapshots];
      this.#state = new TrainingState({ program, vectors, memory, snapshots });
      this.#subtrees = new Subtrees(this.#vectors.pool.length);
      this.#exchange = new GroupExchange({
        ...{ areas: request.areas, vectors: this.#vectors, kernels: this.#kernels },
        ...{ mode: options.exchange, bells: this.#bells },
      });
    } else if (request.kind === "expect") {
      this.#coming = request;
      if (this.#order === undefined) this.#feed.expect(placesOf(request));
    } else if (request.kind === "order") {
      this.#order = request;
      this.#feed.expect(this.#upcoming(request));
      void this.#run();
    } else {
      this.#serve(request, this.#vectors!);
    }
  }

  /** What the order needs, and after it the data of the next updates of the same shards. */
  #upcoming({ step, steps, pieces, run }: Order): BatchPlace[] {
    const isOpen = (piece: Piece) =>
      !this.#subtrees.isOf(step, steps) || this.#subtrees.get(piece) === undefined;
    const ahead = Math.min(updatesAhead, run === undefined ? 1 : run.count - run.done);
    this.#expectedTo = step + ahead * steps;
    const following = updatesAfter({ step, steps, pieces }, ahead).map((after) =>
      placesOf(this.#coming?.step === after.step ? this.#coming : after),
    );
    return [...placesOf({ step, steps, pieces: pieces.filter(isOpen) }), ...following.flat()];
  }

  #serve(
    request: Exclude<ComputeRequest, { kind: "attach" | "order" | "expect" }>,
    vectors: Vectors,
  ): void {
    switch (request.kind) {
      case "initialize":
        this.#state!.initialize(request.parameters);
        return reply({ kind: "done", id: request.id });
      case "apply":
        this.#apply(request);
        if (request.isAwaited) reply({ kind: "applied", step: request.step });
        return;
      case "copy": {
        const floats = copyState(vectors, request.from, request.to);
        return reply({ kind: "copied", id: request.id, floats }, [floats.buffer]);
      }
      case "snapshot":
        return this.#snapshots!.ask(request.snapshot);
      case "load":
        this.#state!.load(request);
        return reply({ kind: "done", id: request.id });
      case "warm": {
        const buffer = this.#subtrees.take([]);
        this.#derive({ step: request.step, steps: 1 }, 0, buffer);
        this.#noise.warm(this.#gradientIn(buffer));
        this.#subtrees.giveBack(buffer);
        return reply({ kind: "done", id: request.id });
      }
      case "evaluate": {
        const samples = this.#program.samplesTest;
        const sums = this.#program.evaluate(vectors.parameters, 0, samples);
        const metrics = Object.fromEntries(
          Object.entries(sums).map(([name, sum]) => [name, sum / samples]),
        );
        return reply({ kind: "evaluated", id: request.id, metrics });
      }
    }
  }

  #apply(update: Omit<ComputeUpdate, "isAwaited">): void {
    const sample = this.#state!.apply(update, this.#noise);
    if (sample !== undefined)
      reply({ kind: "noise", sample: atBatch(sample, options.compile.shards, update.steps) });
  }

  /** Works on the newest order until it is done; an order that comes meanwhile takes over. */
  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#order !== undefined) {
        const order = this.#order;
        if (!this.#subtrees.isOf(order.step, order.steps)) {
          this.#subtrees.startStep(order.step, order.steps);
          this.#noise.begin(order.step);
        }
        this.#subtrees.letAllGo();
        const next = await this.#carryOut(order);
        if (this.#order === order) this.#order = next;
      }
    } catch (error) {
      fail(error, this.#subtrees.step);
    } finally {
      this.#isRunning = false;
    }
  }

  /** Gives what comes next without having been ordered: the next update of the run. */
  async #carryOut(order: Order): Promise<Order | undefined> {
    const reduce = order.group && this.#exchange!.begin(order.group);
    for (const piece of order.pieces) {
      if (!(await this.#finish(order, piece, reduce?.alone))) return undefined;
      const buffer = this.#subtrees.get(piece);
      if (buffer === undefined) {
        reduce!.madeAlone();
        continue;
      }
      this.#subtrees.hold(piece);
      if (reduce !== undefined) reduce.give(piece, buffer);
      else reply({ kind: "piece", ...placeOf(order), piece, buffer, work: this.#takeWork() });
    }
    const givenMs = performance.now();
    this.#auditOther(order);
    if (reduce === undefined) return undefined;
    if (!(await this.#exchange!.finish(reduce, () => this.#order === order))) return undefined;
    const exchangeMs = performance.now() - givenMs;
    if (order.run !== undefined && this.#commit(order, exchangeMs)) return this.#nextOf(order);
    reply({ kind: "whole", ...placeOf(order), work: this.#takeWork(), exchangeMs });
    return undefined;
  }

  /**
   * Commits an update of a run and applies it; between the two no message is looked at. False where
   * that is the control thread's matter.
   */
  #commit({ step, steps, group, run }: Order, exchangeMs: number): boolean {
    const { turn } = group!;
    const { ticket, done, learningRateFactor } = run!;
    const metrics = metricsIn(this.#vectors!.reduced[turn], this.#program.layout);
    if (!Number.isFinite(metrics["loss"])) return false;
    const note = { atMs: wallMs(), exchangeMs, metrics };
    if (!this.#gate!.commit(ticket, done, note)) return false;
    this.#apply({ step, steps, turn, learningRateFactor });
    return true;
  }

  #nextOf(order: Order): Order | undefined {
    const next = nextInRun(order);
    const nowMs = performance.now();
    if (next === undefined || nowMs - this.#toldAtMs >= tellEveryMs) {
      this.#toldAtMs = nowMs;
      reply({ kind: "ran", order: order.order, isOver: !next, work: this.#takeWork() });
    }
    // The loader is a thread as well: it is not woken for each update.
    if (next && next.step >= this.#expectedTo) this.#feed.expect(this.#upcoming(next));
    return next;
  }

  #takeWork(): Work {
    const work = this.#work;
    this.#work = { shards: 0, ms: 0 };
    return work;
  }

  /** At once, without looking for messages: the step may be committed at any moment. */
  #auditOther({ step, steps, pieces, audit }: Order): void {
    if (audit === undefined) return;
    const shard = { lo: audit, size: 1 };
    if (pieces.some((piece) => isWithin(shard, piece))) return;
    const buffer = this.#subtrees.take(pieces);
    this.#derive({ step, steps }, audit, buffer);
    this.#witness(step, audit, buffer);
    this.#subtrees.giveBack(buffer);
  }

  #witness(step: number, shard: number, buffer: number): void {
    const { buffer: memory, byteOffset, byteLength } = this.#vectors!.pool[buffer]!;
    const sha256 = sha256Of(new Uint8Array(memory, byteOffset, byteLength).slice());
    reply({ kind: "witness", step, shard, sha256 });
  }

  #derive(span: Pick<Order, "step" | "steps">, shard: number, buffer: number): void {
    beginWrite(this.#vectors!, buffer);
    const { parameters, pool } = this.#vectors!;
    this.#gradient.derive(span, shard, parameters, pool[buffer]!);
  }

  #gradientIn(buffer: number): Float32Array {
    return this.#vectors!.pool[buffer]!.subarray(0, tensorRanges(this.#program.layout).at(-1)?.to);
  }

  /** Sums up one piece; false when a newer order came in between. */
  async #finish(order: Order, piece: Piece, whole?: JointOrder["into"]): Promise<boolean> {
    if (this.#subtrees.get(piece) !== undefined) return true;
    const [gradient, subtrees, noise] = [this.#gradient, this.#subtrees, this.#noise];
    const parts = { gradient, subtrees, noise, vectors: this.#vectors!, work: this.#work };
    const orders = { order, newest: () => this.#order, into: whole };
    const joint = finishJointly(parts, orders, piece);
    if (joint !== undefined) return joint;
    if (piece.size === 1) {
      const buffer = this.#subtrees.take(order.pieces);
      const startedMs = performance.now();
      this.#derive(order, piece.lo, buffer);
      this.#noise.shard(this.#gradientIn(buffer));
      this.#work.shards += 1;
      this.#work.ms += performance.now() - startedMs;
      if (piece.lo === order.audit) this.#witness(order.step, piece.lo, buffer);
      this.#subtrees.finish(piece, buffer);
      await breathe();
      return this.#order === order;
    }
    // What is finished at an end need not be computed again, where any order of addition will do.
    const isFast = options.exchange === "fast";
    const [left, right] = (isFast && this.#subtrees.partsOf(piece)) || halvesOf(piece);
    if (!(await this.#finish(order, left))) return false;
    this.#subtrees.hold(left);
    if (!(await this.#finish(order, right))) return false;
    const into = this.#subtrees.get(left)!;
    const pool = this.#vectors!.pool;
    beginWrite(this.#vectors!, into);
    this.#kernels!.add(pool[into]!, pool[into]!, pool[this.#subtrees.get(right)!]!);
    this.#subtrees.drop(left, false);
    this.#subtrees.drop(right, true);
    this.#subtrees.finish(piece, into);
    return true;
  }
}

const placeOf = ({ order, step }: Order) => ({ order, step });

function fail(error: unknown, step: number): void {
  const code = error instanceof AppError ? error.code : "program-threw";
  const message = error instanceof Error ? error.message : String(error);
  reply({ kind: "failed", code, message, step });
}

try {
  setSourceMapsSupport(true);
  const feed = new Feed(options.feed);
  const onRecording = () => reply({ kind: "recording" });
  const opened = await openInThread(port, feed, options, onRecording);
  const { identity, program } = opened;
  const { mode, hash, layout, samplesTrain, samplesTest, modelTopology, xlaSeconds } = program;
  assert(
    layout.vectorFloats >= layout.parameterFloats + layout.metricNames.length,
    "the vector holds gradient and metrics",
  );
  const compute = new Compute(opened, feed);
  port.on("message", (request: ComputeRequest) => {
    try {
      compute.receive(request);
    } catch (error) {
      fail(error, -1);
    }
  });
  reply({
    kind: "compiled",
    ...{ identity, mode, hash, layout },
    ...{ samplesTrain, samplesTest, modelTopology, xlaSeconds },
  });
} catch (error) {
  fail(error, -1);
}
