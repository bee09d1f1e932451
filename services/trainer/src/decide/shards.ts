/**
 * Who computes which shards, and in which pieces a sum over them travels.
 *
 * The canonical sum over V shards (a power of two) is the balanced binary tree
 * T(lo, z) = T(lo, z/2) + T(lo + z/2, z/2), with the shards' vectors as leaves. A piece is a subtree:
 * it has the same bits wherever it is added up.
 */
import { assert } from "@coxswain/domain";

/** Shards `lo <= shard < lo + size`; size is a power of two that divides lo. */
export interface Piece {
  readonly lo: number;
  readonly size: number;
}

export interface ShardRange {
  readonly from: number;
  readonly to: number;
}

export const pieceKey = (piece: Piece) => `${piece.lo}+${piece.size}`;

/** Contiguous ranges for each rank; sizes differ by at most one, the greater ones first. */
export function assignShards(shards: number, memberCount: number): ShardRange[] {
  assert(memberCount >= 1 && memberCount <= shards, "each member has a shard");
  const small = Math.floor(shards / memberCount);
  const extra = shards % memberCount;
  let from = 0;
  return Array.from({ length: memberCount }, (_, rank) => {
    const to = from + small + (rank < extra ? 1 : 0);
    const range = { from, to };
    from = to;
    return range;
  });
}

/** The largest subtrees that together are exactly the range, from the left. */
export function piecesOf(range: ShardRange): Piece[] {
  const pieces: Piece[] = [];
  for (let lo = range.from; lo < range.to; ) {
    let size = 1;
    while (lo % (size * 2) === 0 && lo + size * 2 <= range.to) size *= 2;
    pieces.push({ lo, size });
    lo += size;
  }
  return pieces;
}

export type TreeStep =
  | { readonly kind: "given"; readonly piece: Piece }
  | { readonly kind: "add"; readonly left: TreeStep; readonly right: TreeStep };

/** How the root is added up from pieces that cover all shards once. */
export function treeOf(
  shards: number,
  given: ReadonlySet<string>,
  piece: Piece = { lo: 0, size: shards },
): TreeStep {
  if (given.has(pieceKey(piece))) return { kind: "given", piece };
  assert(piece.size > 1, "the pieces cover all shards");
  const half = piece.size / 2;
  return {
    kind: "add",
    left: treeOf(shards, given, { lo: piece.lo, size: half }),
    right: treeOf(shards, given, { lo: piece.lo + half, size: half }),
  };
}

/** Floats `from <= i < to` of the vector that rank `rank` of `ranks` reduces; on 64-byte boundaries. */
export function sliceOf(vectorFloats: number, rank: number, ranks: number): ShardRange {
  const cut = (index: number) =>
    index >= ranks
      ? vectorFloats
      : Math.min(vectorFloats, Math.ceil((vectorFloats * index) / ranks / 16) * 16);
  return { from: cut(rank), to: cut(rank + 1) };
}
