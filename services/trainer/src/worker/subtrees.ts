/** Which sums of shards the compute thread holds, and in which buffers. */
import { assert } from "@coxswain/domain";
import { type Piece, pieceKey } from "../decide/shards.ts";

/** Finished subtrees of one update, by piece: the index of the buffer that holds the sum. */
export class Subtrees {
  step = -1;
  #steps = 0;
  readonly #finished = new Map<string, number>();
  #free: number[];
  readonly #buffers: number;
  readonly #inUse = new Set<string>();

  constructor(buffers: number) {
    this.#buffers = buffers;
    this.#free = Array.from({ length: buffers }, (_, index) => index);
  }

  /** Whether what is here belongs to the update of these steps. */
  isOf(step: number, steps: number): boolean {
    return this.step === step && this.#steps === steps;
  }

  startStep(step: number, steps: number): void {
    this.step = step;
    this.#steps = steps;
    this.#finished.clear();
    this.#inUse.clear();
    this.#free = Array.from({ length: this.#buffers }, (_, index) => index);
  }

  get(piece: Piece): number | undefined {
    return this.#finished.get(pieceKey(piece));
  }

  /** Whether a part of the piece, or all of it, is finished. */
  hasWithin(piece: Piece): boolean {
    return [...this.#finished.keys()].some((key) => isWithin(parsePiece(key), piece));
  }

  /** The piece as the largest finished one at one of its ends, and the rest. */
  partsOf({ lo, size }: Piece): readonly [Piece, Piece] | undefined {
    const end = lo + size;
    const [largest] = [...this.#finished.keys()]
      .map(parsePiece)
      .filter((one) => one.size < size && (one.lo === lo || one.lo + one.size === end))
      .sort((a, b) => b.size - a.size);
    if (largest === undefined) return undefined;
    const rest = size - largest.size;
    return largest.lo === lo
      ? [largest, { lo: lo + largest.size, size: rest }]
      : [{ lo, size: rest }, largest];
  }

  /**
   * A buffer for a new sum. When none is left: one whose piece nobody wants any more, else the
   * smallest that is not in use; what it held is computed again when its turn comes.
   */
  take(wanted: readonly Piece[]): number {
    const free = this.#free.pop();
    if (free !== undefined) return free;
    const idle = [...this.#finished.keys()]
      .map(parsePiece)
      .filter((piece) => !this.#inUse.has(pieceKey(piece)))
      .sort((a, b) => a.size - b.size);
    const victim = idle.find((piece) => !wanted.some((one) => isWithin(piece, one))) ?? idle[0];
    assert(victim !== undefined, "there are more buffers than pieces in use at once");
    const buffer = this.get(victim)!;
    this.#finished.delete(pieceKey(victim));
    return buffer;
  }

  /** The piece stays until it is let go: it waits for its other half, or has been given away. */
  hold(piece: Piece): void {
    this.#inUse.add(pieceKey(piece));
  }

  /** A new order: nothing of the old one is needed as it is. */
  letAllGo(): void {
    this.#inUse.clear();
  }

  finish(piece: Piece, buffer: number): void {
    this.#finished.set(pieceKey(piece), buffer);
  }

  /** What was taken is not needed any more. */
  giveBack(buffer: number): void {
    this.#free.push(buffer);
  }

  /** The piece has become part of a greater one. */
  drop(piece: Piece, isBufferFree: boolean): void {
    const buffer = this.#finished.get(pieceKey(piece));
    this.#finished.delete(pieceKey(piece));
    this.#inUse.delete(pieceKey(piece));
    if (isBufferFree && buffer !== undefined) this.#free.push(buffer);
  }
}

function parsePiece(key: string): Piece {
  const [lo, size] = key.split("+").map(Number) as [number, number];
  return { lo, size };
}

export function isWithin(inner: Piece, outer: Piece): boolean {
  return outer.lo <= inner.lo && inner.lo + inner.size <= outer.lo + outer.size;
}
