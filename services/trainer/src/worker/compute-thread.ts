/**
 * The compute thread of a worker: gradients of the own shards, added up the tree, and the optimizer.
 * It blocks while it computes; between two shards it looks for newer orders.
 */
import { once } from "node:events";
import { setSourceMapsSupport } from "node:module";
import { setImmediate as breathe } from "node:timers/promises";
import { parentPort, workerData } from "node:worker_threads";
import { AppError, assert } from "@coxswain/domain";
import { type CompiledProgram, canRecord, openEngine, openRecordedEngine } from "@coxswain/engine";
import { sha256Of } from "@coxswain/store";
import type { BatchPlace } from "../decide/load-queue.ts";
import { type Piece, pieceKey } from "../decide/shards.ts";
import { buildKernels, type Kernels } from "../exchange/kernels.ts";
import { beginWrite, type Vectors, vectorsOf } from "../exchange/memory.ts";
import { buildUpdate, type UpdateKernel } from "../exchange/update-kernel.ts";
import { Feed } from "../feed/feed.ts";
import type {
  ComputeOptions,
  ComputeReply,
  ComputeRequest,
  ProgramMessage,
} from "./compute-messages.ts";

const port = parentPort!;
const options = workerData as ComputeOptions;
const reply = (message: ComputeReply, transfer: ArrayBuffer[] = []) =>
  port.postMessage(message, transfer);

/** Finished subtrees of one step, by piece: the index of the buffer that holds the sum. */
class Subtrees {
  step = -1;
  readonly #finished = new Map<string, number>();
  #free: number[];
  readonly #buffers: number;
  readonly #inUse = new Set<string>();

  constructor(buffers: number) {
    this.#buffers = buffers;
    this.#free = Array.from({ length: buffers }, (_, index) => index);
  }

  startStep(step: number): void {
    this.step = step;
    this.#finished.clear();
    this.#inUse.clear();
    this.#free = Array.from({ length: this.#buffers }, (_, index) => index);
  }

  get(piece: Piece): number | undefined {
    return this.#finished.get(pieceKey(piece));
  }

  /**
   * A buffer for a new sum. When none is left: one whose piece nobody wants any more, else the
   * smallest that is not in use; what it held is computed again when its turn comes.
   */
  take(wanted: readonly Piece[]): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const idle = [...this.#finished.keys()]
      .map(parsePiece)
      .filter((piece) => !this.#inUse.has(pieceKey(piece)))
      .sort((a, b) => a.size - b.size);
    const victim = idle.find((piece) => !wanted.some((one) => isWithin(piece, one))) ?? idle[0];
    assert(victim !== undefined, "there are more buffers than pieces in use at once");
    const buffer = this.get(victim)!;
    this.#finished.delete(pieceKey(victim));
    return buffer;
  }

  /** The piece stays until it is let go: it waits for its other half, or has been given away. */
  hold(piece: Piece): void {
    this.#inUse.add(pieceKey(piece));
  }

  /** A new order: nothing of the old one is needed as it is. */
  letAllGo(): void {
    this.#inUse.clear();
  }

  finish(piece: Piece, buffer: number): void {
    this.#finished.set(pieceKey(piece), buffer);
  }

  /** The piece has become part of a greater one. */
  drop(piece: Piece, isBufferFree: boolean): void {
    const buffer = this.#finished.get(pieceKey(piece));
    this.#finished.delete(pieceKey(piece));
    this.#inUse.delete(pieceKey(piece));
    if (isBufferFree && buffer !== undefined) this.#free.push(buffer);
  }
}

function parsePiece(key: string): Piece {
  const [lo, size] = key.split("+").map(Number) as [number, number];
  return { lo, size };
}

function isWithin(inner: Piece, outer: Piece): boolean {
  return outer.lo <= inner.lo && inner.lo + inner.size <= outer.lo + outer.size;
}

class Compute {
  readonly #program: CompiledProgram;
  readonly #feed: Feed;
  #vectors: Vectors | undefined;
  #kernels: Kernels | undefined;
  #updateKernel: UpdateKernel | undefined;
  #subtrees = new Subtrees(0);
  #order: Extract<ComputeRequest, { kind: "order" }> | undefined;
  #isRunning = false;

  constructor(program: CompiledProgram, feed: Feed) {
    this.#program = program;
    this.#feed = feed;
  }

  receive(request: ComputeRequest): void {
    if (request.kind === "attach") {
      this.#vectors = vectorsOf(request.areas);
      const { memory } = request.areas;
      this.#kernels = buildKernels(memory);
      const { rule } = this.#program;
      this.#updateKernel = rule && buildUpdate(memory, rule.update);
      this.#subtrees = new Subtrees(this.#vectors.pool.length);
    } else if (request.kind === "order") {
      this.#order = request;
      this.#feed.expect(this.#upcoming(request));
      void this.#run();
    } else {
      this.#serve(request, this.#vectors!);
    }
  }

  /** What the order needs, and after it the next step's data of the same shards. */
  #upcoming({ step, pieces }: Extract<ComputeRequest, { kind: "order" }>): BatchPlace[] {
    const isOpen = (piece: Piece) =>
      step !== this.#subtrees.step || this.#subtrees.get(piece) === undefined;
    const ofStep = (at: number, wanted: readonly Piece[]) =>
      wanted.flatMap(({ lo, size }) =>
        Array.from({ length: size }, (_, i) => ({ step: at, shard: lo + i })),
      );
    return [...ofStep(step, pieces.filter(isOpen)), ...ofStep(step + 1, pieces)];
  }

  #serve(request: Exclude<ComputeRequest, { kind: "attach" | "order" }>, vectors: Vectors): void {
    switch (request.kind) {
      case "initialize":
        if (request.parameters !== undefined) vectors.parameters.set(request.parameters);
        else this.#program.initialize(vectors.parameters);
        for (const slot of vectors.slots) slot.fill(0);
        return reply({ kind: "done", id: request.id });
      case "apply":
        this.#apply(request.step, vectors);
        return reply({ kind: "applied", step: request.step });
      case "copy":
        return this.#copy(request, vectors);
      case "load":
        this.#load(request, vectors);
        return reply({ kind: "done", id: request.id });
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

  #apply(step: number, vectors: Vectors): void {
    const { parameters, slots, reduced } = vectors;
    const whole = reduced[(step % 2) as 0 | 1];
    const gradient = whole.subarray(0, parameters.length);
    const { rule } = this.#program;
    if (this.#updateKernel !== undefined && rule !== undefined)
      return this.#updateKernel({ parameters, gradient, slots }, rule.scalars(step));
    this.#program.update({ step, parameters, slots, gradient, from: 0, to: parameters.length });
  }

  #copy(request: Extract<ComputeRequest, { kind: "copy" }>, { parameters, slots }: Vectors): void {
    const floats = new Float32Array(request.to - request.from);
    for (const [index, vector] of [parameters, ...slots].entries()) {
      const first = index * parameters.length;
      const from = Math.max(request.from, first);
      const to = Math.min(request.to, first + parameters.length);
      if (from < to) floats.set(vector.subarray(from - first, to - first), from - request.from);
    }
    const weights = request.hash ? sha256Of(new Uint8Array(parameters.slice().buffer)) : undefined;
    reply({ kind: "copied", id: request.id, floats, weightsSha256: weights }, [floats.buffer]);
  }

  #load(request: Extract<ComputeRequest, { kind: "load" }>, { parameters, slots }: Vectors): void {
    for (const [index, vector] of [parameters, ...slots].entries()) {
      const first = index * parameters.length;
      const from = Math.max(request.from, first);
      const to = Math.min(request.from + request.floats.length, first + parameters.length);
      if (from < to)
        vector.set(request.floats.subarray(from - request.from, to - request.from), from - first);
    }
  }

  /** Works on the newest order until it is done; an order that comes meanwhile takes over. */
  async #run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (this.#order !== undefined) {
        const order = this.#order;
        if (order.step !== this.#subtrees.step) this.#subtrees.startStep(order.step);
        this.#subtrees.letAllGo();
        await this.#carryOut(order);
        if (this.#order === order) this.#order = undefined;
      }
    } catch (error) {
      fail(error, this.#subtrees.step);
    } finally {
      this.#isRunning = false;
    }
  }

  async #carryOut(order: Extract<ComputeRequest, { kind: "order" }>): Promise<void> {
    for (const piece of order.pieces) {
      if (!(await this.#finish(order, piece))) return;
      this.#subtrees.hold(piece);
      const buffer = this.#subtrees.get(piece)!;
      reply({ kind: "piece", order: order.order, step: order.step, piece, buffer });
    }
  }

  /** Sums up one subtree; false when a newer order came in between. */
  async #finish(
    order: { readonly step: number; readonly pieces: readonly Piece[] },
    piece: Piece,
  ): Promise<boolean> {
    if (this.#subtrees.get(piece) !== undefined) return true;
    if (piece.size === 1) {
      const buffer = this.#subtrees.take(order.pieces);
      beginWrite(this.#vectors!, buffer);
      const { parameters, pool } = this.#vectors!;
      const place = { step: order.step, shard: piece.lo };
      this.#feed.at(place, () => this.#program.gradient({ ...place, parameters }, pool[buffer]!));
      this.#subtrees.finish(piece, buffer);
      await breathe();
      return this.#order === order;
    }
    const half = piece.size / 2;
    const left = { lo: piece.lo, size: half };
    const right = { lo: piece.lo + half, size: half };
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

function fail(error: unknown, step: number): void {
  const code = error instanceof AppError ? error.code : "program-threw";
  reply({
    kind: "failed",
    code,
    message: error instanceof Error ? error.message : String(error),
    step,
  });
}

interface Opened {
  readonly identity: string;
  readonly program: CompiledProgram;
}

/** What a recorded program needs besides is opened while somebody still compiles it. */
async function open(feed: Feed): Promise<Opened> {
  const { engine: name, cacheDir } = options;
  const compile = { ...options.compile, openData: () => Promise.resolve(feed.open()) };
  const recorded = once(port, "message").then(([message]) => (message as ProgramMessage).recorded);
  if (canRecord(name)) {
    const engine = await openRecordedEngine(name, { cacheDir });
    const program = await engine.open(recorded, compile);
    if (program !== undefined) return { identity: engine.identity.text, program };
  }
  await recorded;
  const engine = await openEngine(name, { cacheDir });
  const onRecording = () => reply({ kind: "recording" });
  const program = await engine.compile({ ...compile, onRecording }, "eager");
  return { identity: engine.identity.text, program };
}

try {
  setSourceMapsSupport(true);
  const feed = new Feed(options.feed);
  const { identity, program } = await open(feed);
  const { mode, hash, layout, samplesTrain, samplesTest, modelTopology } = program;
  assert(
    layout.vectorFloats >= layout.parameterFloats + layout.metricNames.length,
    "the vector holds gradient and metrics",
  );
  const compute = new Compute(program, feed);
  port.on("message", (request: ComputeRequest) => {
    try {
      compute.receive(request);
    } catch (error) {
      fail(error, -1);
    }
  });
  reply({
    kind: "compiled",
    identity,
    mode,
    hash,
    layout,
    samplesTrain,
    samplesTest,
    modelTopology,
  });
} catch (error) {
  fail(error, -1);
}
