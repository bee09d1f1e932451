/**
 * What a worker tells the peers that have mapped its memory of the two steps that may be under way:
 * which of its pieces are there, and whether its slice is. Words in shared memory, no messages.
 *
 *   bell | for each turn: generation, step, stamp of the slice, then buffer + 1 and stamp of each piece
 *
 * The bell counts what was said; whoever waits sleeps on it. A stamp that is told is that of the
 * vector while it is meant. A reader looks at generation and step before and after what it reads.
 */
import type { Bells } from "@coxswain/shared-memory";
import type { Place } from "./frames.ts";

const bell = 0;
const headInts = 16;
const pieceInts = 2;
/** Within a turn. */
const words = { generation: 0, step: 1, slice: 2, sliceStamp: 3, pieces: 4 } as const;
const noStep = -1;

const turnInts = (pieces: number) => words.pieces + pieces * pieceInts;
const turnAt = (board: Int32Array, turn: 0 | 1) =>
  headInts + turn * ((board.length - headInts) >> 1);

/** @param pieces of one member, at most */
export function boardInts(pieces: number): number {
  return headInts + 2 * turnInts(pieces);
}

/** A step of a generation. */
export interface BoardStep {
  readonly generation: number;
  readonly step: number;
  readonly turn: 0 | 1;
}

/** The own board: written by one thread. */
export class Board {
  readonly #words: Int32Array;
  readonly #bells: Pick<Bells, "wake"> | undefined;

  /** @param bells undefined: nobody sleeps */
  constructor(board: Int32Array, bells: Pick<Bells, "wake"> | undefined) {
    this.#words = board;
    this.#bells = bells;
  }

  /** Nothing of this step is there yet. */
  begin({ generation, step, turn }: BoardStep): void {
    const at = turnAt(this.#words, turn);
    const end = at + ((this.#words.length - headInts) >> 1);
    Atomics.store(this.#words, at + words.step, noStep);
    for (let word = at + words.slice; word < end; word += 1) Atomics.store(this.#words, word, 0);
    Atomics.store(this.#words, at + words.generation, generation);
    Atomics.store(this.#words, at + words.step, step);
  }

  /** The own piece of this index lies in this vector of the pool. */
  piece(turn: 0 | 1, index: number, { vector, stamp }: Place): void {
    const at = turnAt(this.#words, turn) + words.pieces + index * pieceInts;
    Atomics.store(this.#words, at + 1, stamp);
    Atomics.store(this.#words, at, vector + 1);
    this.#ring();
  }

  /** The own slice is added up, in the reduced vector of this turn. */
  slice(turn: 0 | 1, stamp: number): void {
    const at = turnAt(this.#words, turn);
    Atomics.store(this.#words, at + words.sliceStamp, stamp);
    Atomics.store(this.#words, at + words.slice, 1);
    this.#ring();
  }

  #ring(): void {
    Atomics.add(this.#words, bell, 1);
    this.#bells?.wake(this.#words, bell);
  }
}

const isAt = (board: Int32Array, { generation, step, turn }: BoardStep): boolean => {
  const at = turnAt(board, turn);
  return (
    Atomics.load(board, at + words.step) === step &&
    Atomics.load(board, at + words.generation) === generation
  );
};

/** Where the peer's piece of this index lies; undefined: it is not there yet. */
export function pieceOn(board: Int32Array, step: BoardStep, index: number): Place | undefined {
  if (!isAt(board, step)) return undefined;
  const at = turnAt(board, step.turn) + words.pieces + index * pieceInts;
  const vector = Atomics.load(board, at) - 1;
  const stamp = Atomics.load(board, at + 1);
  return vector >= 0 && isAt(board, step) ? { vector, stamp } : undefined;
}

/** The stamp of the peer's reduced vector since its slice is added up; undefined: it is not yet. */
export function sliceOn(board: Int32Array, step: BoardStep): number | undefined {
  if (!isAt(board, step)) return undefined;
  const at = turnAt(board, step.turn);
  const isThere = Atomics.load(board, at + words.slice) === 1;
  const stamp = Atomics.load(board, at + words.sliceStamp);
  return isThere && isAt(board, step) ? stamp : undefined;
}

/** Counts what was said. */
export const heardOn = (board: Int32Array): number => Atomics.load(board, bell);

/** Sleeps until the peer says something beyond `heard`, so many microseconds at most. */
export function listenTo(
  board: Int32Array,
  heard: number,
  bells: Pick<Bells, "wait">,
  microseconds: number,
): void {
  bells.wait(board, bell, heard, microseconds);
}
