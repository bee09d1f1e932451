/** Members that finish at the same time find each other's numbers without waiting for messages. */
import { type Piece, pieceKey } from "../decide/shards.ts";
import { look, type Moment } from "./board.ts";
import type { Place } from "./frames.ts";
import { reducedStamp, type Shared } from "./memory.ts";

/** Numbers of a peer in its memory. */
export interface Found {
  readonly place: Place;
  readonly window: Shared;
}

/** Whether what was read there is what was meant. */
export function isAsTold({ window, place }: Found): boolean {
  return Atomics.load(window.stamps, place.vector) === place.stamp;
}

export interface Watched extends Moment {
  readonly shards: number;
  /** By rank; undefined for the own one, and where memory is not shared. */
  readonly windows: readonly (Shared | undefined)[];
  readonly pieces: readonly (readonly Piece[])[];
  readonly isHere: (piece: string) => boolean;
  readonly hasResult: (rank: number) => boolean;
  readonly onPiece: (piece: Piece, found: Found) => void;
  readonly onResult: (rank: number, found: Found) => void;
  readonly isDone: () => boolean;
}

/** Watches for so long, or until all is done. */
export function watchBoards(watched: Watched, watchMs: number): void {
  const deadlineMs = performance.now() + watchMs;
  do {
    for (const [rank, window] of watched.windows.entries())
      if (window !== undefined) lookAt(watched, rank, window);
  } while (!watched.isDone() && performance.now() < deadlineMs);
}

function lookAt(watched: Watched, rank: number, window: Shared): void {
  for (const [index, piece] of watched.pieces[rank]!.entries()) {
    if (watched.isHere(pieceKey(piece))) continue;
    const place = look(window.board, watched, index + 1);
    if (place !== undefined) watched.onPiece(piece, { place, window });
  }
  if (watched.hasResult(rank)) return;
  const place = look(window.board, watched, 0);
  if (place?.vector === reducedStamp(watched.shards, watched.step))
    watched.onResult(rank, { place, window });
}
