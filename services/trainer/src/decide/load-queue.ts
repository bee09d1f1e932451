/**
 * What the loader reads next, and into which slot. Slots are few, so memory is bounded: a batch is
 * read when its turn has come and a slot is free.
 */
import type { Piece } from "./shards.ts";

/** One shard of one step. */
export interface BatchPlace {
  readonly step: number;
  readonly shard: number;
}

/** The data of an update's pieces: shard after shard, each with its steps in their order. */
export function placesOf(update: {
  readonly step: number;
  /** Steps that it takes. */
  readonly steps: number;
  readonly pieces: readonly Piece[];
}): BatchPlace[] {
  const { step, steps, pieces } = update;
  return pieces.flatMap(({ lo, size }) =>
    Array.from({ length: size * steps }, (_, i) => ({
      step: step + (i % steps),
      shard: lo + Math.floor(i / steps),
    })),
  );
}

/** The next so many updates of the same kind. */
export function updatesAfter<Update extends { readonly step: number; readonly steps: number }>(
  update: Update,
  count: number,
): Update[] {
  const { step, steps } = update;
  return Array.from({ length: count }, (_, i) => ({ ...update, step: step + (i + 1) * steps }));
}

export interface Load {
  readonly place: BatchPlace;
  readonly slot: number;
}

export const batchKey = ({ step, shard }: BatchPlace) => `${step}.${shard}`;

export class LoadQueue {
  /** In their order, without what is held. */
  #wanted = new Map<string, BatchPlace>();
  readonly #free: number[];
  /** What each slot in use holds, or is being filled with. */
  readonly #held = new Map<number, string>();
  readonly #heldKeys = new Set<string>();

  constructor(slots: number) {
    this.#free = Array.from({ length: slots }, (_, slot) => slot);
  }

  /** Replaces what was wanted before, first come first read; what is held already is not read again. */
  want(places: readonly BatchPlace[]): void {
    const keyed = places.map((place): [string, BatchPlace] => [batchKey(place), place]);
    this.#wanted = new Map(keyed.filter(([key]) => !this.#heldKeys.has(key)));
  }

  /** The slot's batch is of no use any more, nor wanted again unless somebody says so. */
  release(slot: number): void {
    const key = this.#held.get(slot);
    if (key === undefined) return;
    this.#held.delete(slot);
    this.#heldKeys.delete(key);
    this.#free.push(slot);
  }

  next(): Load | undefined {
    const [first] = this.#wanted;
    if (first === undefined) return undefined;
    const slot = this.#free.pop();
    if (slot === undefined) return undefined;
    const [key, place] = first;
    this.#wanted.delete(key);
    this.#held.set(slot, key);
    this.#heldKeys.add(key);
    return { place, slot };
  }
}
