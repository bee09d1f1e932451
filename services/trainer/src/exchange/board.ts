/**
 * A board in each worker's shared memory: where its numbers of the present steps lie. Who is waiting
 * anyway reads it there, some ten microseconds before the same words come through the connection.
 *
 * Two halves for two consecutive steps; in each one slot for the finished slice and one for each of
 * the worker's pieces: generation, step, vector, stamp. The generation is written last, and taken away
 * first. Whoever reads words that are being overwritten finds another generation or step; what they
 * point at is judged by its stamp, as always.
 */
import type { Place } from "./frames.ts";

const slotInts = 4;

/** Slot 0 is of the slice; a worker's range has fewer than twice as many pieces as the tree has levels. */
export function boardInts(shards: number): number {
  return 2 * slotsOf(shards) * slotInts;
}

const slotsOf = (shards: number) => 2 * Math.ceil(Math.log2(Math.max(2, shards))) + 1;

export interface Moment {
  readonly generation: number;
  readonly step: number;
}

function placeOf(board: Int32Array, { step }: Moment, slot: number): number {
  const slots = board.length / 2 / slotInts;
  return slot < slots ? ((step % 2) * slots + slot) * slotInts : -1;
}

export function post(board: Int32Array, moment: Moment, slot: number, place: Place): void {
  const at = placeOf(board, moment, slot);
  if (at < 0) return; // The connection tells it.
  Atomics.store(board, at, 0);
  Atomics.store(board, at + 1, moment.step);
  Atomics.store(board, at + 2, place.vector);
  Atomics.store(board, at + 3, place.stamp);
  Atomics.store(board, at, moment.generation);
}

/** Undefined while nothing is posted for this moment. */
export function look(board: Int32Array, moment: Moment, slot: number): Place | undefined {
  const at = placeOf(board, moment, slot);
  if (at < 0) return undefined;
  const isOf = () =>
    Atomics.load(board, at) === moment.generation && Atomics.load(board, at + 1) === moment.step;
  if (!isOf()) return undefined;
  const place = { vector: Atomics.load(board, at + 2), stamp: Atomics.load(board, at + 3) };
  return isOf() ? place : undefined;
}
