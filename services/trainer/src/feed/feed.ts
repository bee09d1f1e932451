/**
 * The compute thread's side of the loader: batches that lie ready in shared memory. What is not ready
 * is waited for, with the thread blocked, and the time is counted.
 */
import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";
import { assert, reviveError } from "@coxswain/domain";
import type { Batch, Dataset } from "@coxswain/program";
import { type BatchPlace, batchKey } from "../decide/load-queue.ts";
import {
  type LoaderReply,
  type LoaderRequest,
  SlotBoard,
  type Slots,
  slotViews,
} from "./messages.ts";

export interface FeedEnds {
  readonly port: MessagePort;
  readonly bell: SharedArrayBuffer;
  /** One float64: milliseconds that the compute thread has waited for data. */
  readonly stalledMs: SharedArrayBuffer;
}

type Opened = Extract<LoaderReply, { kind: "opened" }>;
type Failed = Extract<LoaderReply, { kind: "failed" }>;

export class Feed {
  readonly #port: MessagePort;
  readonly #bell: Int32Array;
  readonly #stalledMs: Float64Array;
  #opened: Opened | undefined;
  #board: SlotBoard | undefined;
  /** The bell when the board was last looked at. */
  #seen = 0;
  #wanted = new Map<string, BatchPlace>();
  readonly #ready = new Map<string, number>();
  readonly #failed = new Map<string, Failed>();
  #gathered: Batch | undefined;
  /** What `gathered` is, or will be: one answer at a time is on its way. */
  #asked: string | undefined;
  #place: BatchPlace | undefined;
  #slotInUse: number | undefined;
  /** Used, and not said yet: each message wakes the loader. */
  readonly #used: number[] = [];

  constructor({ port, bell, stalledMs }: FeedEnds) {
    this.#port = port;
    this.#bell = new Int32Array(bell);
    this.#stalledMs = new Float64Array(stalledMs);
  }

  /**
   * The program's data as the loader has opened it. A batch is valid until the next one is asked for.
   *
   * @throws AppError what the program's own `data` threw
   */
  open(): Dataset {
    this.#waitFor(() => this.#opened !== undefined);
    const { inputShape, labelShape, samplesTrain, samplesTest } = this.#opened!;
    const train = (indices: readonly number[]) =>
      this.#place === undefined ? this.#gather("train", indices) : this.#take(this.#place);
    const test = (indices: readonly number[]) => {
      const batch = this.#gather("test", indices);
      // Whoever evaluates asks for one batch after the other: the next one is read meanwhile.
      const next = indices.map((index) => index + indices.length);
      if (next.every((index) => index < samplesTest)) this.#askFor("test", next);
      return batch;
    };
    return {
      inputShape,
      labelShape,
      train: { samples: samplesTrain, batch: train },
      test: { samples: samplesTest, batch: test },
    };
  }

  #askFor(split: "train" | "test", indices: readonly number[]): void {
    this.#asked = `${split} ${indices}`;
    this.#send({ kind: "gather", split, indices: [...indices] });
  }

  #gather(split: "train" | "test", indices: readonly number[]): Batch {
    const wanted = `${split} ${indices}`;
    if (this.#asked !== undefined && this.#asked !== wanted) this.#takeGathered();
    if (this.#asked === undefined) this.#askFor(split, indices);
    return this.#takeGathered();
  }

  #takeGathered(): Batch {
    this.#waitFor(() => this.#gathered !== undefined);
    const batch = this.#gathered!;
    this.#gathered = undefined;
    this.#asked = undefined;
    return batch;
  }

  /** These come next, in this order; what is ready and not among them is let go, as is the last batch. */
  expect(places: readonly BatchPlace[]): void {
    this.#letGo();
    const keys = new Set(places.map(batchKey));
    this.#drain();
    const useless = [...this.#ready].filter(([key]) => !keys.has(key));
    for (const [key] of useless) this.#ready.delete(key);
    for (const key of this.#failed.keys()) if (!keys.has(key)) this.#failed.delete(key);
    this.#used.push(...useless.map(([, slot]) => slot));
    this.#want(places);
  }

  /** Runs `work`, whose training batch is the one of this shard of this step. */
  at<Result>(place: BatchPlace, work: () => Result): Result {
    this.#place = place;
    try {
      return work();
    } finally {
      this.#place = undefined;
    }
  }

  #take(place: BatchPlace): Batch {
    const key = batchKey(place);
    this.#drain();
    this.#letGo();
    if (this.#used.length >= this.#slots.count / 2) this.#release();
    if (!this.#isSettled(key)) this.#await(place);
    const failed = this.#failed.get(key);
    if (failed !== undefined) throw reviveError(failed, "program-threw");
    this.#slotInUse = this.#ready.get(key)!;
    this.#ready.delete(key);
    this.#wanted.delete(key);
    return slotViews(this.#slots, this.#slotInUse);
  }

  #letGo(): void {
    if (this.#slotInUse !== undefined) this.#used.push(this.#slotInUse);
    this.#slotInUse = undefined;
  }

  #release(): void {
    if (this.#used.length > 0) this.#send({ kind: "release", slots: this.#used.splice(0) });
  }

  get #slots(): Slots {
    return this.#opened!.slots;
  }

  #isSettled(key: string): boolean {
    return this.#ready.has(key) || this.#failed.has(key);
  }

  #await(place: BatchPlace): void {
    const key = batchKey(place);
    if (!this.#wanted.has(key)) this.#want([place, ...this.#wanted.values()]);
    else this.#release();
    const startedMs = performance.now();
    this.#waitFor(() => {
      if (this.#isSettled(key)) return true;
      // All slots hold what comes later: the last of it makes room.
      if (this.#ready.size === this.#slots.count) {
        const [last, slot] = [...this.#ready].at(-1)!;
        this.#ready.delete(last);
        this.#used.push(slot);
        this.#want([place, ...this.#wanted.values()]);
      }
      return false;
    });
    this.#stalledMs[0]! += performance.now() - startedMs;
  }

  /** The loader lets go first: what was used is then wanted anew, where it is among the places. */
  #want(places: readonly BatchPlace[]): void {
    this.#wanted = new Map(places.map((place) => [batchKey(place), place]));
    this.#send({ kind: "want", places, slots: this.#used.splice(0) });
  }

  #send(request: LoaderRequest): void {
    this.#port.postMessage(request);
  }

  #waitFor(isThere: () => boolean): void {
    for (;;) {
      const rung = Atomics.load(this.#bell, 0);
      this.#drain();
      if (isThere()) return;
      Atomics.wait(this.#bell, 0, rung);
    }
  }

  /** Hears what has come; nothing has while the bell is silent. */
  #drain(): void {
    const rung = Atomics.load(this.#bell, 0);
    if (rung === this.#seen) return;
    this.#seen = rung;
    for (const { slot, place } of this.#board?.take() ?? []) {
      const key = batchKey(place);
      assert(!this.#ready.has(key), "a batch lies in one slot");
      this.#ready.set(key, slot);
    }
    for (;;) {
      const received = receiveMessageOnPort(this.#port) as { message: LoaderReply } | undefined;
      if (received === undefined) return;
      this.#receive(received.message);
    }
  }

  #receive(message: LoaderReply): void {
    switch (message.kind) {
      case "opened":
        this.#opened = message;
        this.#board = new SlotBoard(message.slots);
        return;
      case "gathered":
        this.#gathered = message;
        return;
      case "failed":
        if (message.place === undefined) throw reviveError(message, "program-threw");
        this.#failed.set(batchKey(message.place), message);
        return;
    }
  }
}
