/**
 * The loader thread of a worker: reads, decodes and batches what the compute thread will need next,
 * so that computing does not wait for data.
 */
import { setImmediate as breathe } from "node:timers/promises";
import { workerData } from "node:worker_threads";
import { assert, shardSamples } from "@coxswain/domain";
import { loadProgram, programError } from "@coxswain/engine/load-program";
import { type Batch, type Dataset, isInMemory, type StreamedDataset } from "@coxswain/program";
import { type BatchPlace, type Load, LoadQueue } from "../decide/load-queue.ts";
import {
  type LoaderOptions,
  type LoaderReply,
  type LoaderRequest,
  SlotBoard,
  slotViews,
} from "./messages.ts";
import { planSlots } from "./plan-slots.ts";

const options = workerData as LoaderOptions;
const { port } = options;
const bell = new Int32Array(options.bell);
/** Reads from files or a store that may be on their way at once. */
const readsMax = 8;

function ring(): void {
  Atomics.add(bell, 0, 1);
  Atomics.notify(bell, 0);
}

function reply(message: LoaderReply): void {
  port.postMessage(message);
  ring();
}

function fail(what: string, cause: unknown, place?: BatchPlace): void {
  const { code, message } = programError(what, cause);
  reply({ kind: "failed", code, message, ...(place && { place }) });
}

class Loader {
  readonly #data: Dataset | StreamedDataset;
  readonly #slots: ReturnType<typeof planSlots>;
  readonly #board: SlotBoard;
  readonly #queue: LoadQueue;
  #reading = 0;

  constructor(data: Dataset | StreamedDataset) {
    this.#data = data;
    this.#slots = planSlots({ ...options, ...data });
    this.#board = new SlotBoard(this.#slots);
    this.#queue = new LoadQueue(this.#slots.count);
    const { inputShape, labelShape, train, test } = data;
    const samples = { samplesTrain: train.samples, samplesTest: test.samples };
    reply({ kind: "opened", inputShape, labelShape, ...samples, slots: this.#slots });
  }

  receive(request: LoaderRequest): void {
    if (request.kind === "gather") {
      void this.#gather(request);
      return;
    }
    for (const slot of request.slots) this.#queue.release(slot);
    if (request.kind === "want") this.#queue.want(request.places);
    this.#loadOn();
  }

  #loadOn(): void {
    while (this.#reading < readsMax) {
      const load = this.#queue.next();
      if (load === undefined) return;
      this.#reading += 1;
      void this.#load(load).finally(() => {
        this.#reading -= 1;
        this.#loadOn();
      });
    }
  }

  async #load({ place, slot }: Load): Promise<void> {
    try {
      const { samples } = this.#data.train;
      const views = slotViews(this.#slots, slot);
      const indices = shardSamples({ ...options, samples, ...place });
      const batch = await this.#read("train", indices, views);
      for (const name of ["inputs", "labels"] as const) {
        assert(batch[name].length === views[name].length, `${name} have the dataset's shape`);
        if (batch[name] !== views[name]) views[name].set(batch[name]);
      }
      this.#board.put(slot, place);
      ring();
    } catch (cause) {
      this.#queue.release(slot);
      fail(`data of step ${place.step}, shard ${place.shard}`, cause, place);
    }
  }

  async #gather({ split, indices }: Extract<LoaderRequest, { kind: "gather" }>): Promise<void> {
    try {
      const { inputs, labels } = await this.#read(split, indices);
      reply({ kind: "gathered", inputs, labels });
    } catch (cause) {
      fail(`data of the ${split} set`, cause);
    }
  }

  async #read(split: "train" | "test", indices: readonly number[], into?: Batch): Promise<Batch> {
    const data = this.#data;
    if (!isInMemory(data)) return await data[split].read(indices);
    await breathe(); // There is nothing to wait for, but there are requests to hear of.
    return data[split].batch(indices, into);
  }
}

try {
  const program = await loadProgram(options.programPath);
  const loader = new Loader(await program.data(options.data));
  port.on("message", (request: LoaderRequest) => loader.receive(request));
} catch (cause) {
  fail("opening the data", cause);
}
