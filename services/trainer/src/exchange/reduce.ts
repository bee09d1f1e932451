/**
 * The exact all-reduce of one step among the members of one generation.
 *
 * Each member sends every other its subtrees of that one's slice; the owner adds them in tree order
 * and sends the finished slice to all. The step is whole when every slice is here. All state of the
 * step is in this object; nothing is taken back but by making a new one.
 *
 * Members that map each other's memory send a word instead of the numbers: where they lie, and the
 * stamp that they have while they are meant. A member commits a step when it has every slice, so
 * every owner has read its subtrees by then: they stay as they are for as long as a member of this
 * generation reads them. Whoever reads later is none any more; the stamp tells it.
 */
import { assert } from "@coxswain/domain";
import {
  type Piece,
  pieceKey,
  piecesOf,
  type ShardRange,
  sliceOf,
  type TreeStep,
  treeOf,
} from "../decide/shards.ts";
import {
  encodePlace,
  type Frame,
  frameTypes,
  type Place,
  parsePlace,
  vectorFrames,
} from "./frames.ts";
import type { Kernels } from "./kernels.ts";
import { beginWrite, reducedStamp, type Shared, type Vectors } from "./memory.ts";

export interface ReduceOptions {
  readonly generation: number;
  readonly step: number;
  readonly shards: number;
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
  /** The reduced vector of the step is whole. */
  readonly onWhole: () => void;
}

/** A vector that arrives in frames. */
interface Arriving {
  readonly target: Float32Array;
  missingBytes: number;
}

export class Reduce {
  readonly #options: ReduceOptions;
  readonly #own: ShardRange;
  readonly #target: Float32Array;
  /** All pieces of all members: together they cover the shards once. */
  readonly #pieceKeys: ReadonlySet<string>;
  /** The own slice of each piece that is here. */
  readonly #here = new Map<string, Float32Array>();
  readonly #arriving = new Map<string, Arriving>();
  #receivedFloats = 0;
  /** What was read from windows, and must be as it was told when the sum is done. */
  readonly #read: { readonly window: Shared; readonly place: Place }[] = [];
  #slicesMissing: number;
  readonly #parity: number;
  #isTargetOpen = false;

  constructor(options: ReduceOptions) {
    this.#options = options;
    const { vectorFloats, rank, ranges, step } = options;
    this.#own = sliceOf(vectorFloats, rank, ranges.length);
    this.#target = options.vectors.reduced[(step % 2) as 0 | 1];
    this.#pieceKeys = new Set(ranges.flatMap(piecesOf).map(pieceKey));
    this.#slicesMissing = ranges.length;
    this.#parity = step % 2;
  }

  get step(): number {
    return this.#options.step;
  }

  /** One of the own pieces is computed: its sum lies in this vector of the pool, and stays for this step. */
  give(piece: Piece, buffer: number): void {
    const { ranges, rank, generation, step, vectors, vectorFloats, send } = this.#options;
    const sum = vectors.pool[buffer]!;
    const place = { vector: buffer, stamp: Atomics.load(vectors.stamps, buffer) };
    for (let other = 0; other < ranges.length; other += 1) {
      if (other === rank) continue;
      const head = { lo: piece.lo, size: piece.size, slice: other, generation, step };
      if (this.#options.sharing?.isMappedBy(other)) {
        send(other, encodePlace({ ...head, type: frameTypes.pieceHere }, place));
        continue;
      }
      const slice = sliceOf(vectorFloats, other, ranges.length);
      const part = sum.subarray(slice.from, slice.to);
      for (const frame of vectorFrames({ ...head, type: frameTypes.piece }, part))
        send(other, frame);
    }
    this.#arrived(pieceKey(piece), sum.subarray(this.#own.from, this.#own.to));
  }

  /** A frame of the member of rank `from` for this step. Returns why it cannot be, if it cannot. */
  receive(frame: Frame, from: number): string | undefined {
    switch (frame.type) {
      case frameTypes.piece:
        return this.#refusePiece(frame) ?? this.#receivePiece(frame);
      case frameTypes.pieceHere:
        return this.#refusePiece(frame) ?? this.#receivePieceHere(frame, from);
      case frameTypes.result:
        return this.#refuseResult(frame) ?? this.#receiveResult(frame);
      case frameTypes.resultHere:
        return this.#refuseResult(frame) ?? this.#receiveResultHere(frame, from);
      default:
        return `a frame of type ${frame.type} is no part of a step`;
    }
  }

  #refusePiece(frame: Frame): string | undefined {
    const isExpected = this.#pieceKeys.has(pieceKey(frame)) && frame.slice === this.#options.rank;
    return isExpected
      ? undefined
      : `piece ${pieceKey(frame)} of slice ${frame.slice} is not expected`;
  }

  #refuseResult({ slice }: Frame): string | undefined {
    const isExpected = slice < this.#options.ranges.length && slice !== this.#options.rank;
    return isExpected ? undefined : `slice ${slice} is not expected`;
  }

  #receivePiece(frame: Frame): string | undefined {
    const key = pieceKey(frame);
    if (this.#here.has(key)) return undefined; // The same bits once more.
    return this.#fill(
      key,
      frame,
      () => this.#room(this.#own.to - this.#own.from),
      (target) => this.#arrived(key, target),
    );
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
    if (found === undefined || frame.slice !== from) return "it points at no memory of a peer";
    const { ranges, vectorFloats, kernels } = this.#options;
    const { window, place } = found;
    const slice = sliceOf(vectorFloats, frame.slice, ranges.length);
    this.#openTarget();
    const part = (vector: Float32Array) => vector.subarray(slice.from, slice.to);
    kernels.copy(part(this.#target), part(window.reduced[this.#parity as 0 | 1]));
    if (isAsTold(window, place)) this.#sliceDone();
    return undefined;
  }

  /** Peers that still read what was there before will find the stamp changed. */
  #openTarget(): void {
    if (this.#isTargetOpen) return;
    this.#isTargetOpen = true;
    beginWrite(this.#options.vectors, reducedStamp(this.#options.shards, this.#options.step));
  }

  /** The two steps that may be on their way at once use the two halves of the area. */
  #room(floats: number): Float32Array {
    const area = this.#options.vectors.received;
    const half = Math.floor(area.length / 2 / 16) * 16;
    const from = this.#parity * half + this.#receivedFloats;
    this.#receivedFloats += floats;
    assert(this.#receivedFloats <= half, "the received pieces fit into their area");
    return area.subarray(from, from + floats);
  }

  #receiveResult(frame: Frame): string | undefined {
    const { ranges, vectorFloats } = this.#options;
    const slice = sliceOf(vectorFloats, frame.slice, ranges.length);
    this.#openTarget();
    return this.#fill(
      `result ${frame.slice}`,
      frame,
      () => this.#target.subarray(slice.from, slice.to),
      () => this.#sliceDone(),
    );
  }

  #fill(
    key: string,
    frame: Frame,
    open: () => Float32Array,
    done: (target: Float32Array) => void,
  ): string | undefined {
    let arriving = this.#arriving.get(key);
    if (arriving === undefined) {
      const target = open();
      arriving = { target, missingBytes: target.byteLength };
      this.#arriving.set(key, arriving);
    }
    const { target } = arriving;
    if (frame.offset + frame.payload.length > target.byteLength)
      return "the frame reaches over the end of its slice";
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(
      frame.payload,
      frame.offset,
    );
    arriving.missingBytes -= frame.payload.length;
    if (arriving.missingBytes === 0) done(target);
    return arriving.missingBytes < 0 ? "more bytes than the slice has" : undefined;
  }

  #arrived(key: string, slice: Float32Array): void {
    if (this.#here.has(key)) return;
    this.#here.set(key, slice);
    if (this.#here.size === this.#pieceKeys.size) this.#finishOwnSlice();
  }

  #finishOwnSlice(): void {
    const { shards, kernels, ranges, rank, generation, step, send, sharing } = this.#options;
    const { vectors } = this.#options;
    this.#openTarget();
    const out = this.#target.subarray(this.#own.from, this.#own.to);
    const sum = (node: TreeStep, isRoot: boolean): Float32Array => {
      if (node.kind === "given") return this.#here.get(pieceKey(node.piece))!;
      const left = sum(node.left, false);
      const right = sum(node.right, false);
      // Own pieces and peers' memory must stay as they are; received ones may be overwritten.
      const into = isRoot
        ? out
        : this.#isReceived(left)
          ? left
          : this.#isReceived(right)
            ? right
            : this.#room(out.length);
      kernels.add(into, left, right);
      return into;
    };
    const root = sum(treeOf(shards, this.#pieceKeys), true);
    if (root !== out) kernels.copy(out, root);
    // Somebody has gone on without this member: what was added up is nothing.
    if (!this.#read.every(({ window, place }) => isAsTold(window, place))) return;
    const vector = reducedStamp(shards, step);
    const place = { vector, stamp: Atomics.load(vectors.stamps, vector) };
    const head = { lo: 0, size: 0, slice: rank, generation, step };
    for (let other = 0; other < ranges.length; other += 1) {
      if (other === rank) continue;
      if (sharing?.isMappedBy(other))
        send(other, encodePlace({ ...head, type: frameTypes.resultHere }, place));
      else
        for (const frame of vectorFrames({ ...head, type: frameTypes.result }, out))
          send(other, frame);
    }
    this.#sliceDone();
  }

  #isReceived(slice: Float32Array): boolean {
    const { received } = this.#options.vectors;
    return (
      slice.byteOffset >= received.byteOffset &&
      slice.byteOffset < received.byteOffset + received.byteLength
    );
  }

  #sliceDone(): void {
    this.#slicesMissing -= 1;
    if (this.#slicesMissing === 0) this.#options.onWhole();
  }
}

/** Whether what was read there is what was meant. */
function isAsTold({ stamps }: Shared, { vector, stamp }: Place): boolean {
  return Atomics.load(stamps, vector) === stamp;
}
