/** The compute thread and its loader, as the control thread sees them. */
import { MessageChannel, type MessagePort, Worker } from "node:worker_threads";
import { AppError, reviveError } from "@coxswain/domain";
import { type GradientNoise, SmoothedNoise } from "@coxswain/goodput";
import type { Piece } from "../decide/shards.ts";
import type { Areas } from "../exchange/memory.ts";
import type { FeedEnds } from "../feed/feed.ts";
import type { LoaderOptions } from "../feed/messages.ts";
import type {
  Compiled,
  ComputeOptions,
  ComputeOrder,
  ComputeReply,
  ComputeRequest,
  ComputeUpdate,
  ProgramMessage,
  Work,
} from "./compute-messages.ts";
import type { SaverEnds, Snapshot } from "./save-messages.ts";

export interface ComputeEvents {
  /** A subtree of the newest order is in pool buffer `buffer`. */
  onPiece(step: number, piece: Piece, buffer: number, work: Work): void;
  /** The newest order's group has added up all pieces. */
  onWhole(step: number, work: Work): void;
  /** More updates of the newest order's run are committed; `isOver`: all are. */
  onRan(isOver: boolean, work: Work): void;
  onWitness(step: number, shard: number, sha256: string): void;
  onFailed(error: AppError, step: number): void;
  /** The program's step runs for the first time; `compiled` follows. */
  onRecording(): void;
  /** What the seed gives, where the compute thread does not know it. */
  initialParameters?(): Promise<Float32Array | undefined>;
}

/** Enough for the runtime to have compiled what runs often. */
const warmMin = 12;
const warmLast = 4;
const warmMsMax = 2000;

/** The last ones are no faster than those before, all in all. */
export function isWarm(tookMs: readonly number[]): boolean {
  if (tookMs.length < warmMin) return false;
  const fastest = (some: readonly number[]) => Math.min(...some);
  return fastest(tookMs.slice(-warmLast)) >= 0.9 * fastest(tookMs.slice(0, -warmLast));
}

type Answer = Extract<ComputeReply, { kind: "done" | "copied" | "evaluated" }>;

export class Compute {
  readonly compiled: Promise<Compiled>;
  readonly #thread: Worker;
  readonly #loader: Worker;
  readonly #stalledMs = new Float64Array(new SharedArrayBuffer(8));
  readonly #waiting = new Map<number, (answer: Answer) => void>();
  readonly #applied = new Map<number, () => void>();
  readonly #events: ComputeEvents;
  readonly #noise: SmoothedNoise;
  #nextId = 1;
  #pieceAtMs: number | undefined;
  #newestOrder = 0;

  constructor(options: Omit<ComputeOptions, "feed">, events: ComputeEvents) {
    this.#events = events;
    this.#noise = new SmoothedNoise(options.compile.shards);
    const { port1, port2 } = new MessageChannel();
    const bell = new SharedArrayBuffer(4);
    const { programPath, data, batchSize, shards, seed } = options.compile;
    const loading = { programPath, data, batchSize, shards, seed };
    const forLoader: LoaderOptions = { ...loading, port: port1, bell };
    this.#loader = this.#startThread("../feed/loader-thread.ts", forLoader, port1);
    const feed: FeedEnds = { port: port2, bell, stalledMs: this.#stalledMs.buffer };
    this.#thread = this.#startThread("./compute-thread.ts", { ...options, feed }, port2);
    const compiled = Promise.withResolvers<Compiled>();
    this.compiled = compiled.promise;
    this.#thread.on("message", (message: ComputeReply) => {
      if (message.kind === "compiled") compiled.resolve(message);
      else this.#receive(message);
    });
  }

  /** A thread that dies takes the worker along, with its reason. */
  #startThread(file: string, workerData: object, port: MessagePort): Worker {
    const thread = new Worker(new URL(file, import.meta.url), { workerData, transferList: [port] });
    thread.on("error", (cause: NodeJS.ErrnoException) => {
      const isMemory = cause.code === "ERR_WORKER_OUT_OF_MEMORY";
      this.#events.onFailed(
        new AppError(isMemory ? "out-of-memory" : "program-threw", cause.message, { cause }),
        -1,
      );
    });
    return thread;
  }

  /** Milliseconds that the compute thread has waited for data since it started. */
  get stalledMs(): number {
    return this.#stalledMs[0]!;
  }

  /** Milliseconds since the compute thread handed over its latest piece; undefined: none yet. */
  get sincePieceMs(): number | undefined {
    return this.#pieceAtMs === undefined ? undefined : performance.now() - this.#pieceAtMs;
  }

  /** Of the whole batch's gradient, over the last steps; undefined until enough was measured. */
  get gradientNoise(): GradientNoise | undefined {
    return this.#noise.noise;
  }

  #receive(message: Exclude<ComputeReply, Compiled>): void {
    switch (message.kind) {
      case "piece":
        // Pieces of an older order are in buffers that may be in use again.
        if (message.order !== this.#newestOrder) return;
        this.#pieceAtMs = performance.now();
        this.#events.onPiece(message.step, message.piece, message.buffer, message.work);
        return;
      case "whole":
        if (message.order !== this.#newestOrder) return;
        this.#pieceAtMs = performance.now() - message.exchangeMs;
        return this.#events.onWhole(message.step, message.work);
      case "ran":
        if (message.order !== this.#newestOrder) return;
        return this.#events.onRan(message.isOver, message.work);
      case "witness":
        return this.#events.onWitness(message.step, message.shard, message.sha256);
      case "applied":
        this.#applied.get(message.step)?.();
        this.#applied.delete(message.step);
        return;
      case "noise":
        return this.#noise.add(message.sample);
      case "recording":
        return this.#events.onRecording();
      case "failed":
        this.#events.onFailed(reviveError(message, "program-threw"), message.step);
        return;
      default:
        this.#waiting.get(message.id)?.(message);
        this.#waiting.delete(message.id);
    }
  }

  #send(request: ComputeRequest, transfer: readonly MessagePort[] = []): void {
    this.#thread.postMessage(request, transfer);
  }

  #ask(build: (id: number) => ComputeRequest): Promise<Answer> {
    const id = this.#nextId;
    this.#nextId += 1;
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#send(build(id));
    });
  }

  attach(areas: Areas, saver: SaverEnds, gate: SharedArrayBuffer): void {
    this.#send({ kind: "attach", areas, saver, gate }, [saver.snapshots]);
  }

  /** The state as after what was asked before; it does not change until the saver has copied it. */
  snapshot(snapshot: Snapshot): void {
    this.#send({ kind: "snapshot", snapshot });
  }

  order(order: ComputeOrder): void {
    this.#newestOrder += 1;
    this.#send({ kind: "order", order: this.#newestOrder, ...order });
  }

  /** What will be ordered from this step on. */
  expect(order: Omit<ComputeOrder, "audit" | "group" | "run">): void {
    this.#send({ kind: "expect", ...order });
  }

  /** Pieces that are still on their way are of no use any more. */
  forgetOrders(): void {
    this.#newestOrder += 1;
  }

  /** Resolves when the parameters are those after this update, where that is awaited; else at once. */
  apply(update: ComputeUpdate): Promise<void> {
    this.#send({ kind: "apply", ...update });
    if (!update.isAwaited) return Promise.resolve();
    return new Promise((resolve) => this.#applied.set(update.step, resolve));
  }

  /** The program as data, or undefined when it runs operator by operator. Call it once, first. */
  provide(recorded: Uint8Array | undefined): void {
    const message: ProgramMessage = { kind: "program", recorded };
    this.#thread.postMessage(message);
  }

  async initialize(): Promise<void> {
    const parameters = await this.#events.initialParameters?.();
    await this.#ask((id) => ({ kind: "initialize", id, ...(parameters && { parameters }) }));
  }

  async load(from: number, floats: Float32Array): Promise<void> {
    await this.#ask((id) => ({ kind: "load", id, from, floats }));
  }

  /** Computes gradients for nobody, until they take no less time than the ones before: the first take much longer. */
  async warm(step: number): Promise<void> {
    const startedMs = performance.now();
    const tookMs: number[] = [];
    while (!isWarm(tookMs) && performance.now() - startedMs < warmMsMax) {
      const beganMs = performance.now();
      await this.#ask((id) => ({ kind: "warm", id, step }));
      tookMs.push(performance.now() - beganMs);
    }
  }

  async copy(from: number, to: number): Promise<Extract<ComputeReply, { kind: "copied" }>> {
    return (await this.#ask((id) => ({ kind: "copy", id, from, to }))) as Extract<
      ComputeReply,
      { kind: "copied" }
    >;
  }

  async evaluate(): Promise<Readonly<Record<string, number>>> {
    return (
      (await this.#ask((id) => ({ kind: "evaluate", id }))) as Extract<
        ComputeReply,
        { kind: "evaluated" }
      >
    ).metrics;
  }

  async stop(): Promise<void> {
    await Promise.all([this.#thread.terminate(), this.#loader.terminate()]);
  }
}
