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
  | { readonly kind: "ready"; readonly place: BatchPlace; readonly slot: number }
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
