/**
 * The all-reduce of one step among the members of one generation.
 *
 * Each member sends every other its pieces of that one's slice; the owner adds them in the order of
 * the job's mode and sends the finished slice to all. The step is whole when every slice is here. All
 * state of the step is in this object; nothing is taken back but by making a new one.
 *
 * A slice is added up and sent on block by block, as its pieces arrive: the second half of the exchange
 * overlaps the first. Vectors are sent from where they lie. That is safe within a generation: a member
 * commits a step when it has every slice, so all its pieces have arrived by then; and the half of
 * `reduced` that its own slice was sent from is written again two steps later, with pieces from members
 * that have had that slice.
 *
 * Members that map each other's memory send a word instead of the numbers: where they lie, and the
 * stamp that they have while they are meant. A member commits a step when it has every slice, so
 * every owner has read its subtrees by then: they stay as they are for as long as a member of this
 * generation reads them. Whoever reads later is none any more; the stamp tells it.
 */
import { assert } from "@coxswain/domain";
import {
  type ExchangeMode,
  type Piece,
  pieceKey,
  piecesOf,
  type ShardRange,
  sliceOf,
  sumOf,
  type TreeStep,
} from "../decide/shards.ts";
import {
  encodePlace,
  type Frame,
  type FrameHead,
  frameTypes,
  type Place,
  parsePlace,
} from "./frames.ts";
import type { Kernels } from "./kernels.ts";
import { type Lacking, lackingOf } from "./lacking.ts";
import {
  beginWrite,
  blockFloats,
  isAsTold,
  reducedStamp,
  type Shared,
  type Vectors,
} from "./memory.ts";
import { buildSum, type Part, type Sum } from "./tree-sum.ts";

export interface ReduceOptions {
  readonly generation: number;
  readonly step: number;
  /** Which of the two reduced vectors it fills: the other one than the update before. */
  readonly turn: 0 | 1;
  readonly shards: number;
  readonly mode: ExchangeMode;
  readonly rank: number;
  /** Shards of each rank. */
  readonly ranges: readonly ShardRange[];
  readonly vectors: Vectors;
  readonly vectorFloats: number;
  readonly kernels: Kernels;
  /** Members on this machine, where there is shared memory. */
  readonly sharing?: {
    /** The memory of this rank, mapped here. */
    readonly windowOf: (rank: number) => Shared | undefined;
    /** Whether this rank has mapped our memory. */
    readonly isMappedBy: (rank: number) => boolean;
  };
  /** Sends to the member of this rank. */
  readonly send: (rank: number, frame: Buffer) => void;
  /** Sends the frames of a vector from where it lies. */
  readonly sendVector: (rank: number, head: FrameHead, vector: Float32Array) => void;
  /** The reduced vector of the step is whole. */
  readonly onWhole: () => void;
}

/** The own slice of a piece, or another's finished slice: its bytes arrive in order. */
interface Arriving {
  readonly target: Float32Array;
  bytes: number;
}

export class Reduce {
  readonly #options: ReduceOptions;
  readonly #own: ShardRange;
  readonly #target: Float32Array;
  /** All pieces of all members, and of whom: together they cover the shards once. */
  readonly #pieces: ReadonlyMap<string, number>;
  readonly #tree: TreeStep;
  /** The own slice of each piece, as far as it is here. */
  readonly #here = new Map<string, Arriving>();
  readonly #results = new Map<number, Arriving>();
  /** Finished slices that were read where they lie. */
  readonly #resultsHere = new Set<number>();
  #receivedFloats = 0;
  /** What was read from windows, and must be as it was told when a sum is sent. */
  readonly #read: { readonly window: Shared; readonly place: Place }[] = [];
  #slicesMissing: number;
  readonly #turn: 0 | 1;
  #isTargetOpen = false;
  #sum: Sum | undefined;
  /** The piece of which a part is added where it was received, and that part. */
  #arrivingKey: string | undefined;
  #arrivingPart: Frame | undefined;
  /** Floats of the own slice that are added up; undefined: not even none. */
  #doneFloats: number | undefined;

  constructor(options: ReduceOptions) {
    this.#options = options;
    const { vectorFloats, rank, ranges, shards, turn, mode } = options;
    this.#own = sliceOf(vectorFloats, rank, ranges.length);
    this.#turn = turn;
    this.#target = options.vectors.reduced[this.#turn];
    const pieces = ranges.map((range) => piecesOf(range, mode));
    this.#pieces = new Map(
      pieces.flatMap((own, of) => own.map((piece) => [pieceKey(piece), of] as const)),
    );
    this.#tree = sumOf(shards, pieces.flat(), mode);
    this.#slicesMissing = ranges.length;
  }

  get step(): number {
    return this.#options.step;
  }

  /** One of the own pieces is computed: its sum lies in this vector of the pool, and stays for this step. */
  give(piece: Piece, buffer: number): void {
    const { ranges, rank, generation, step, vectors, vectorFloats } = this.#options;
    const { send, sendVector, sharing } = this.#options;
    const sum = vectors.pool[buffer]!;
    const place = { vector: buffer, stamp: Atomics.load(vectors.stamps, buffer) };
    for (let other = 0; other < ranges.length; other += 1) {
      if (other === rank) continue;
      const head = { lo: piece.lo, size: piece.size, slice: other, generation, step, offset: 0 };
      if (sharing?.isMappedBy(other)) {
        send(other, encodePlace({ ...head, type: frameTypes.pieceHere }, place));
        continue;
      }
      const slice = sliceOf(vectorFloats, other, ranges.length);
      const part = sum.subarray(slice.from, slice.to);
      sendVector(other, { ...head, type: frameTypes.piece }, part);
    }
    this.#arrived(pieceKey(piece), sum.subarray(this.#own.from, this.#own.to));
  }

  /** A frame of the member of rank `from` for this step. Returns why it cannot be, if it cannot. */
  receive(frame: Frame, from: number): string | undefined {
    switch (frame.type) {
      case frameTypes.piece:
        return this.#refusePiece(frame, from) ?? this.#receivePiece(frame);
      case frameTypes.pieceHere:
        return this.#refusePiece(frame, from) ?? this.#receivePieceHere(frame, from);
      case frameTypes.result:
        return this.#refuseResult(frame, from) ?? this.#receiveResult(frame);
      case frameTypes.resultHere:
        return this.#refuseResult(frame, from) ?? this.#receiveResultHere(frame, from);
      default:
        return `a frame of type ${frame.type} is no part of a step`;
    }
  }

  #refusePiece(frame: Frame, from: number): string | undefined {
    const isExpected =
      this.#pieces.get(pieceKey(frame)) === from && frame.slice === this.#options.rank;
    return isExpected
      ? undefined
      : `piece ${pieceKey(frame)} of slice ${frame.slice} is not expected`;
  }

  #refuseResult({ slice }: Frame, from: number): string | undefined {
    const isExpected = slice === from && slice !== this.#options.rank;
    return isExpected ? undefined : `slice ${slice} is not expected`;
  }

  #receivePiece(frame: Frame): string | undefined {
    const key = pieceKey(frame);
    const present = this.#here.get(key);
    if (present !== undefined && isWhole(present)) return undefined; // The same bits once more.
    const piece = present ?? { target: this.#room(this.#own.to - this.#own.from), bytes: 0 };
    this.#here.set(key, piece);
    const why = whyNotNext(piece, frame);
    if (why !== undefined) return why;
    if (this.#canAddAtOnce(piece, frame)) this.#arrivingKey = key;
    else this.#options.kernels.put(piece.target, frame.offset, frame.payload);
    this.#arrivingPart = frame;
    piece.bytes += frame.payload.length;
    this.#advance();
    this.#arrivingKey = undefined;
    return undefined;
  }

  /** The last piece to come, in the place where it was received, is not copied before it is added. */
  #canAddAtOnce(piece: Arriving, { offset, payload }: Frame): boolean {
    const isAddable = payload.buffer === piece.target.buffer && payload.byteOffset % 16 === 0;
    if (!isAddable || offset !== (this.#doneFloats ?? 0) * 4) return false;
    if (this.#here.size < this.#pieces.size) return false;
    const end = offset + payload.length;
    for (const other of this.#here.values()) if (other !== piece && other.bytes < end) return false;
    const isBlock = payload.length >= blockFloats * 4 && payload.length % 64 === 0;
    return isBlock || end === piece.target.byteLength;
  }

  #partOf(key: string): Part {
    const { target } = this.#here.get(key)!;
    return (from, to) => {
      if (this.#arrivingKey !== key) return target.subarray(from, to);
      const { payload, offset } = this.#arrivingPart!;
      const start = payload.byteOffset - offset + from * 4;
      return new Float32Array(payload.buffer, start, to - from);
    };
  }

  /** The window and the vector that a frame points at, or why there is none. */
  #lookUp(frame: Frame, from: number) {
    const place = parsePlace(frame);
    const window = this.#options.sharing?.windowOf(from);
    if (place === undefined || window === undefined) return undefined;
    return place.vector < window.stamps.length ? { place, window } : undefined;
  }

  #receivePieceHere(frame: Frame, from: number): string | undefined {
    const found = this.#lookUp(frame, from);
    const vector = found?.window.pool[found.place.vector];
    if (found === undefined || vector === undefined) return "it points at no memory of a peer";
    if (this.#here.has(pieceKey(frame))) return undefined;
    this.#read.push(found);
    this.#arrived(pieceKey(frame), vector.subarray(this.#own.from, this.#own.to));
    return undefined;
  }

  #receiveResultHere(frame: Frame, from: number): string | undefined {
    const found = this.#lookUp(frame, from);
    if (found === undefined) return "it points at no memory of a peer";
    const { ranges, vectorFloats, kernels } = this.#options;
    const { window, place } = found;
    const slice = sliceOf(vectorFloats, frame.slice, ranges.length);
    this.#openTarget();
    const part = (vector: Float32Array) => vector.subarray(slice.from, slice.to);
    kernels.copy(part(this.#target), part(window.reduced[this.#turn]));
    if (!isAsTold(window, place)) return undefined;
    this.#resultsHere.add(frame.slice);
    this.#sliceDone();
    return undefined;
  }

  /** What is not here yet, and of whom. */
  missing(): readonly Lacking[] {
    const known = { pieces: this.#pieces, here: this.#here, results: this.#results };
    return lackingOf({ ...this.#options, ...known, resultsHere: this.#resultsHere });
  }

  /** Peers that still read what was there before will find the stamp changed. */
  #openTarget(): void {
    if (this.#isTargetOpen) return;
    this.#isTargetOpen = true;
    beginWrite(this.#options.vectors, reducedStamp(this.#options.shards, this.#turn));
  }

  /** The two steps that may be on their way at once use the two halves of the area. */
  #room(floats: number): Float32Array {
    const area = this.#options.vectors.received;
    const half = Math.floor(area.length / 2 / 16) * 16;
    const from = this.#turn * half + this.#receivedFloats;
    this.#receivedFloats += Math.ceil(floats / 16) * 16;
    assert(this.#receivedFloats <= half, "the received pieces fit into their area");
    return area.subarray(from, from + floats);
  }

  #receiveResult(frame: Frame): string | undefined {
    const { ranges, vectorFloats } = this.#options;
    this.#openTarget();
    let result = this.#results.get(frame.slice);
    if (result === undefined) {
      const slice = sliceOf(vectorFloats, frame.slice, ranges.length);
      result = { target: this.#target.subarray(slice.from, slice.to), bytes: 0 };
      this.#results.set(frame.slice, result);
    }
    const why = whyNotNext(result, frame);
    if (why !== undefined) return why;
    this.#options.kernels.put(result.target, frame.offset, frame.payload);
    result.bytes += frame.payload.length;
    if (isWhole(result)) this.#sliceDone();
    return undefined;
  }

  #arrived(key: string, slice: Float32Array): void {
    if (this.#here.has(key)) return;
    this.#here.set(key, { target: slice, bytes: slice.byteLength });
    this.#advance();
  }

  /** Adds up as much of the own slice as is here of every piece, and sends it on. */
  #advance(): void {
    if (this.#here.size < this.#pieces.size) return;
    const floats = this.#own.to - this.#own.from;
    let here = floats;
    for (const { bytes } of this.#here.values())
      here = Math.min(here, bytes === floats * 4 ? floats : Math.floor(bytes / 64) * 16);
    let from = this.#doneFloats ?? 0;
    const isWorthIt = here === floats ? this.#doneFloats !== floats : here - from >= blockFloats;
    if (!isWorthIt) return;
    this.#openTarget();
    this.#sum ??= this.#buildSum(floats);
    do {
      const to = Math.min(here, from + blockFloats);
      this.#sum(from, to);
      // Somebody has gone on without this member: what was added up is nothing.
      if (!this.#read.every(({ window, place }) => isAsTold(window, place))) return;
      this.#sendResult(from, to);
      from = to;
    } while (from < here);
    this.#doneFloats = here;
    if (here === floats) this.#finishOwnSlice();
  }

  #buildSum(floats: number): Sum {
    const { kernels } = this.#options;
    return buildSum({
      tree: this.#tree,
      out: this.#target.subarray(this.#own.from, this.#own.to),
      given: (piece) => this.#partOf(pieceKey(piece)),
      room: () => this.#room(Math.min(floats, blockFloats)),
      kernels,
    });
  }

  /** To members that have not mapped our memory; the others get a word when all of it is done. */
  #sendResult(from: number, to: number): void {
    const { ranges, rank, generation, step, sendVector, sharing } = this.#options;
    const part = this.#target.subarray(this.#own.from + from, this.#own.from + to);
    const head = { lo: 0, size: 0, slice: rank, generation, step, offset: from * 4 };
    for (let other = 0; other < ranges.length; other += 1)
      if (other !== rank && !sharing?.isMappedBy(other))
        sendVector(other, { ...head, type: frameTypes.result }, part);
  }

  #finishOwnSlice(): void {
    const { shards, ranges, rank, generation, step, send, sharing, vectors } = this.#options;
    const vector = reducedStamp(shards, this.#turn);
    const place = { vector, stamp: Atomics.load(vectors.stamps, vector) };
    const head = { lo: 0, size: 0, slice: rank, generation, step };
    for (let other = 0; other < ranges.length; other += 1)
      if (other !== rank && sharing?.isMappedBy(other))
        send(other, encodePlace({ ...head, type: frameTypes.resultHere }, place));
    this.#sliceDone();
  }

  #sliceDone(): void {
    this.#slicesMissing -= 1;
    if (this.#slicesMissing === 0) this.#options.onWhole();
  }
}

/** Bytes arrive in order, and not beyond the end. */
function whyNotNext({ target, bytes }: Arriving, { offset, payload }: Frame): string | undefined {
  const isRest = offset === bytes && offset + payload.length <= target.byteLength;
  const isEmpty = payload.length === 0 && target.length > 0;
  return isRest && !isEmpty ? undefined : "the frame is not the next one of its vector";
}

const isWhole = ({ target, bytes }: Arriving) => bytes === target.byteLength;
