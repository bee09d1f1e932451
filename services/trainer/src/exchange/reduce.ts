/**
 * The exact all-reduce of one step among the members of one generation.
 *
 * Each member sends every other its subtrees of that one's slice; the owner adds them in tree order
 * and sends the finished slice to all. The step is whole when every slice is here. All state of the
 * step is in this object; nothing is taken back but by making a new one.
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
import { type Frame, frameTypes, vectorFrames } from "./frames.ts";
import type { Add, Vectors } from "./memory.ts";

export interface ReduceOptions {
  readonly generation: number;
  readonly step: number;
  readonly shards: number;
  readonly rank: number;
  /** Shards of each rank. */
  readonly ranges: readonly ShardRange[];
  readonly vectors: Vectors;
  readonly vectorFloats: number;
  readonly add: Add;
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
  #slicesMissing: number;
  readonly #parity: number;

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

  /** One of the own pieces is computed: its sum lies in `sum`, which stays as it is for this step. */
  give(piece: Piece, sum: Float32Array): void {
    const { ranges, rank, generation, step, vectorFloats, send } = this.#options;
    for (let other = 0; other < ranges.length; other += 1) {
      if (other === rank) continue;
      const slice = sliceOf(vectorFloats, other, ranges.length);
      const head = {
        type: frameTypes.piece,
        lo: piece.lo,
        size: piece.size,
        slice: other,
        generation,
        step,
      };
      for (const frame of vectorFrames(head, sum.subarray(slice.from, slice.to)))
        send(other, frame);
    }
    this.#arrived(pieceKey(piece), sum.subarray(this.#own.from, this.#own.to));
  }

  /** A frame of a member for this step. Returns why it cannot be, if it cannot. */
  receive(frame: Frame): string | undefined {
    return frame.type === frameTypes.piece ? this.#receivePiece(frame) : this.#receiveResult(frame);
  }

  #receivePiece(frame: Frame): string | undefined {
    const key = pieceKey(frame);
    if (!this.#pieceKeys.has(key) || frame.slice !== this.#options.rank)
      return `piece ${key} of slice ${frame.slice} is not expected`;
    if (this.#here.has(key)) return undefined; // The same bits once more.
    return this.#fill(
      key,
      frame,
      () => this.#room(this.#own.to - this.#own.from),
      (target) => this.#arrived(key, target),
    );
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
    if (frame.slice >= ranges.length || frame.slice === this.#options.rank)
      return `slice ${frame.slice} is not expected`;
    const slice = sliceOf(vectorFloats, frame.slice, ranges.length);
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
    const { shards, add, ranges, rank, generation, step, send } = this.#options;
    const out = this.#target.subarray(this.#own.from, this.#own.to);
    const sum = (node: TreeStep, isRoot: boolean): Float32Array => {
      if (node.kind === "given") return this.#here.get(pieceKey(node.piece))!;
      const left = sum(node.left, false);
      const right = sum(node.right, false);
      // Own pieces must stay as they are; received ones may be overwritten, and the root goes out.
      const into = isRoot
        ? out
        : this.#isReceived(left)
          ? left
          : this.#isReceived(right)
            ? right
            : this.#room(out.length);
      add(into, left, right);
      return into;
    };
    const root = sum(treeOf(shards, this.#pieceKeys), true);
    if (root !== out) out.set(root);
    for (let other = 0; other < ranges.length; other += 1) {
      if (other === rank) continue;
      const head = { type: frameTypes.result, lo: 0, size: 0, slice: rank, generation, step };
      for (const frame of vectorFrames(head, out)) send(other, frame);
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
