/**
 * The all-reduce of one step among members that all read each other's memory, in the thread that has
 * computed the pieces: they tell each other by their boards what is there, and nobody sends a message.
 * The additions are those of `Reduce`, so the bits are the same, and so is what keeps them safe: a
 * member has every slice before the step is committed, and nothing that was told changes before.
 *
 * It can be left at any moment; then its step is made anew, by this class or by `Reduce`.
 */
import { assert } from "@coxswain/domain";
import type { Bells } from "@coxswain/shared-memory";
import {
  type Piece,
  pieceKey,
  piecesOf,
  type ShardRange,
  sliceOf,
  sumOf,
} from "../decide/shards.ts";
import { type Board, type BoardStep, heardOn, listenTo, pieceOn, sliceOn } from "./board.ts";
import type { Place } from "./frames.ts";
import {
  beginWrite,
  blockFloats,
  isAsTold,
  reducedStamp,
  type Shared,
  type Stamped,
} from "./memory.ts";
import type { ReduceOptions } from "./reduce.ts";
import { buildSum, type Sum } from "./tree-sum.ts";

export interface BoardReduceOptions
  extends Pick<
      ReduceOptions,
      "shards" | "mode" | "rank" | "ranges" | "vectors" | "vectorFloats" | "kernels"
    >,
    BoardStep {
  readonly board: Board;
  /** The memory of each rank; of the own one nothing. */
  readonly windows: readonly (Shared | undefined)[];
}

interface Found {
  readonly window: Shared | undefined;
  readonly place: Place;
}

export class BoardReduce {
  readonly #options: BoardReduceOptions;
  readonly #own: ShardRange;
  readonly #ownPieces: readonly Piece[];
  readonly #target: Float32Array;
  readonly #missing: { readonly piece: Piece; readonly rank: number; readonly index: number }[];
  readonly #found = new Map<string, Found>();
  /** Ranks whose finished slice is not here yet. */
  #slices: number[];
  #isSummed = false;
  /** Somebody has gone on without this member: what it would add up is nothing. */
  #isVoid = false;

  constructor(options: BoardReduceOptions) {
    const { ranges, rank, mode, vectorFloats, vectors, turn, board } = options;
    this.#options = options;
    this.#own = sliceOf(vectorFloats, rank, ranges.length);
    this.#ownPieces = piecesOf(ranges[rank]!, mode);
    this.#target = vectors.reduced[turn];
    this.#missing = ranges.flatMap((range, of) =>
      piecesOf(range, mode).map((piece, index) => ({ piece, rank: of, index })),
    );
    this.#slices = ranges.map((_, of) => of).filter((of) => of !== rank);
    board.begin(options);
  }

  get ranks(): number {
    return this.#options.ranges.length;
  }

  /** An own piece lies in this vector of the pool, and stays for this step. */
  give(piece: Piece, buffer: number): void {
    const { vectors, board, turn } = this.#options;
    const index = this.#ownPieces.findIndex((own) => pieceKey(own) === pieceKey(piece));
    assert(index >= 0, "it is one of the own pieces");
    const place = { vector: buffer, stamp: Atomics.load(vectors.stamps, buffer) };
    this.#found.set(pieceKey(piece), { window: undefined, place });
    board.piece(turn, index, place);
  }

  /** Of a group of one: where a piece may be made without being given, since it is the sum. */
  get alone(): Stamped | undefined {
    const { shards, turn } = this.#options;
    if (this.ranks > 1 || this.#ownPieces.length > 1) return undefined;
    return { stamp: reducedStamp(shards, turn), vector: this.#target };
  }

  /** The one piece was made there. */
  madeAlone(): void {
    assert(this.alone !== undefined, "there is nobody else");
    this.#isSummed = true;
  }

  /** Goes on as far as the peers have come. True: the reduced vector is whole. */
  advance(): boolean {
    if (this.#isVoid) return false;
    this.#look();
    if (!this.#isSummed && this.#missing.length === 0) this.#sum();
    if (this.#isSummed) this.#slices = this.#slices.filter((rank) => !this.#take(rank));
    return this.#isSummed && this.#slices.length === 0;
  }

  /** The rank that is waited for; undefined: none. */
  get #awaited(): number | undefined {
    return this.#isSummed ? this.#slices[0] : this.#missing[0]?.rank;
  }

  /**
   * As `advance`, but where that does not finish it sleeps until a peer says something, so many
   * microseconds at most.
   */
  advanceOrListen(bells: Pick<Bells, "wait">, microseconds: number): boolean {
    const { windows } = this.#options;
    const rank = this.#awaited;
    const board = rank === undefined ? undefined : windows[rank]?.board;
    const heard = board && heardOn(board);
    if (this.advance()) return true;
    if (board !== undefined && this.#awaited === rank) listenTo(board, heard!, bells, microseconds);
    return false;
  }

  #look(): void {
    const { windows, rank: own } = this.#options;
    for (let i = this.#missing.length - 1; i >= 0; i -= 1) {
      const { piece, rank, index } = this.#missing[i]!;
      if (rank !== own) {
        const window = windows[rank]!;
        const place = pieceOn(window.board, this.#options, index);
        if (place === undefined || place.vector >= window.pool.length) continue;
        this.#found.set(pieceKey(piece), { window, place });
      } else if (!this.#found.has(pieceKey(piece))) continue;
      this.#missing.splice(i, 1);
    }
  }

  #sum(): void {
    const { vectors, shards, turn, board } = this.#options;
    const stamp = reducedStamp(shards, turn);
    beginWrite(vectors, stamp);
    const floats = this.#own.to - this.#own.from;
    const sum = this.#buildSum(floats);
    for (let from = 0; from < floats; from += blockFloats)
      sum(from, Math.min(floats, from + blockFloats));
    this.#isVoid = [...this.#found.values()].some(
      ({ window, place }) => window !== undefined && !isAsTold(window, place),
    );
    if (this.#isVoid) return;
    this.#isSummed = true;
    board.slice(turn, Atomics.load(vectors.stamps, stamp));
  }

  #buildSum(floats: number): Sum {
    const { shards, ranges, mode, vectors, kernels, turn } = this.#options;
    const { from: first, to: end } = this.#own;
    const pieces = ranges.flatMap((range) => piecesOf(range, mode));
    let roomAt = turn * (vectors.received.length >> 1);
    return buildSum({
      tree: sumOf(shards, pieces, mode),
      out: this.#target.subarray(first, end),
      given: (piece) => {
        const { window, place } = this.#found.get(pieceKey(piece))!;
        const slice = (window ?? vectors).pool[place.vector]!.subarray(first, end);
        return (from, to) => slice.subarray(from, to);
      },
      room: () => {
        const length = Math.ceil(Math.min(floats, blockFloats) / 16) * 16;
        roomAt += length;
        return vectors.received.subarray(roomAt - length, roomAt);
      },
      kernels,
    });
  }

  /** True when the finished slice of this rank is here. */
  #take(rank: number): boolean {
    const { windows, vectorFloats, ranges, turn, shards, kernels } = this.#options;
    const window = windows[rank]!;
    const stamp = sliceOn(window.board, this.#options);
    if (stamp === undefined) return false;
    const { from, to } = sliceOf(vectorFloats, rank, ranges.length);
    kernels.copy(this.#target.subarray(from, to), window.reduced[turn].subarray(from, to));
    return isAsTold(window, { vector: reducedStamp(shards, turn), stamp });
  }
}
