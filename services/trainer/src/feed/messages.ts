/** What the compute thread and the loader thread say to each other, over a port and a bell. */
import type { MessagePort } from "node:worker_threads";
import type { Shapes } from "@coxswain/program";
import type { BatchPlace } from "../decide/load-queue.ts";

export interface LoaderOptions {
  readonly programPath: string;
  readonly data: string;
  readonly batchSize: number;
  readonly shards: number;
  readonly seed: number;
  readonly port: MessagePort;
  /** Rung by the loader after each message: the compute thread sleeps on it. */
  readonly bell: SharedArrayBuffer;
}

export type LoaderRequest =
  /** From now on these are wanted, in this order; the slots hold what is of no use any more. */
  | {
      readonly kind: "want";
      readonly places: readonly BatchPlace[];
      readonly slots: readonly number[];
    }
  /** The slots' batches have been used. */
  | { readonly kind: "release"; readonly slots: readonly number[] }
  /** Samples that belong to no step: of the held-out set, or for a recording. */
  | { readonly kind: "gather"; readonly split: "train" | "test"; readonly indices: number[] };

/** A slot: inputs, then labels, of one shard. */
export interface Slots {
  readonly memory: SharedArrayBuffer;
  /** What lies ready in them: see `SlotBoard`. */
  readonly board: SharedArrayBuffer;
  readonly count: number;
  readonly inputFloats: number;
  readonly labelFloats: number;
}

export type LoaderReply =
  | (Shapes & {
      readonly kind: "opened";
      readonly samplesTrain: number;
      readonly samplesTest: number;
      readonly slots: Slots;
    })
  | { readonly kind: "gathered"; readonly inputs: Float32Array; readonly labels: Float32Array }
  | {
      readonly kind: "failed";
      readonly code: string;
      readonly message: string;
      /** What could not be read; absent: nothing can be. */
      readonly place?: BatchPlace;
    };

export function slotViews({ memory, inputFloats, labelFloats }: Slots, slot: number) {
  const first = slot * (inputFloats + labelFloats) * 4;
  return {
    inputs: new Float32Array(memory, first, inputFloats),
    labels: new Float32Array(memory, first + inputFloats * 4, labelFloats),
  };
}

const boardInts = 3;

/**
 * Which batches lie ready: for each slot whether one does, its step, its shard. A word instead of a
 * message for each: the loader puts a batch up, the compute thread takes it down, once.
 */
export class SlotBoard {
  readonly #words: Int32Array;

  /** Memory for so many slots. */
  static allocate(slots: number): SharedArrayBuffer {
    return new SharedArrayBuffer(slots * boardInts * 4);
  }

  constructor({ board }: Pick<Slots, "board">) {
    this.#words = new Int32Array(board);
  }

  put(slot: number, { step, shard }: BatchPlace): void {
    const at = slot * boardInts;
    this.#words[at + 1] = step;
    this.#words[at + 2] = shard;
    Atomics.store(this.#words, at, 1);
  }

  /** What was put up since the last time. */
  take(): { readonly slot: number; readonly place: BatchPlace }[] {
    const taken = [];
    for (let at = 0; at < this.#words.length; at += boardInts) {
      if (Atomics.load(this.#words, at) === 0) continue;
      const place = { step: this.#words[at + 1]!, shard: this.#words[at + 2]! };
      Atomics.store(this.#words, at, 0);
      taken.push({ slot: at / boardInts, place });
    }
    return taken;
  }
}
