/**
 * Ticks off every sample of every epoch: the proof that does not trust the bijection.
 *
 * One bit per sample and epoch, so n positions need n/8 bytes.
 */
import { type Permutation, permutation } from "@coxswain/domain";
import type { Stretch } from "./lineage.ts";

export interface DataOrder {
  readonly seed: number;
  readonly samples: number;
  readonly batchSize: number;
  readonly shards: number;
}

export interface SampleCount {
  readonly twice: number;
  /** Of epochs that the steps reach the end of; what follows is not due yet. */
  readonly skipped: number;
}

/** @param end steps below should be committed */
export function countSamples(
  order: DataOrder,
  stretches: readonly Stretch[],
  end: number,
): SampleCount {
  const epochs = new Map<number, Epoch>();
  const size = order.batchSize / order.shards;
  let twice = 0;
  const tick = (position: number) => {
    const number = Math.floor(position / order.samples);
    let epoch = epochs.get(number);
    if (epoch === undefined) {
      epoch = new Epoch(permutation(order.seed, number, order.samples), order.samples);
      epochs.set(number, epoch);
    }
    if (!epoch.tick(position % order.samples)) twice += 1;
  };
  for (const { from, to, members } of stretches) {
    for (let step = from; step < to; step += 1) {
      for (const { shardFrom, shardTo } of members) {
        const first = step * order.batchSize;
        for (let p = first + shardFrom * size; p < first + shardTo * size; p += 1) tick(p);
      }
    }
  }
  return { twice, skipped: skippedOf(order, epochs, end) };
}

function skippedOf(order: DataOrder, epochs: ReadonlyMap<number, Epoch>, end: number): number {
  const positions = end * order.batchSize;
  let skipped = 0;
  for (let number = 0; number * order.samples < positions; number += 1) {
    const due = Math.min(order.samples, positions - number * order.samples);
    skipped += Math.max(0, due - (epochs.get(number)?.ticked ?? 0));
  }
  return skipped;
}

class Epoch {
  readonly #order: Permutation;
  readonly #bits: Uint8Array;
  ticked = 0;

  constructor(order: Permutation, samples: number) {
    this.#order = order;
    this.#bits = new Uint8Array(Math.ceil(samples / 8));
  }

  /** False when the sample at this place of the epoch was ticked before. */
  tick(place: number): boolean {
    const sample = this.#order(place);
    const byte = Math.floor(sample / 8);
    const bit = 1 << (sample % 8);
    if ((this.#bits[byte]! & bit) !== 0) return false;
    this.#bits[byte]! |= bit;
    this.ticked += 1;
    return true;
  }
}
