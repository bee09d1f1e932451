/**
 * Who computes which shards, and in which pieces a sum over them travels.
 *
 * The canonical sum over V shards (a power of two) is the balanced binary tree
 * T(lo, z) = T(lo, z/2) + T(lo + z/2, z/2), with the shards' vectors as leaves. A piece is a subtree:
 * it has the same bits wherever it is added up.
 *
 * A job that gives its bits up, `exchange: fast`, adds each member's whole range into one piece:
 * fewer numbers travel, and the sum's rounding depends on who holds which shards.
 */
import { assert, type TrainingJobSpec } from "@coxswain/domain";

export type ExchangeMode = TrainingJobSpec["exchange"];

/** Shards `lo <= shard < lo + size`; where it is exact, size is a power of two that divides lo. */
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

/** In which pieces a member hands its range over: the largest subtrees in it, from the left; or one. */
export function piecesOf(range: ShardRange, mode: ExchangeMode): Piece[] {
  if (mode === "fast") return [{ lo: range.from, size: range.to - range.from }];
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

/** Whether a range is a subtree of the canonical sum. */
export const isSubtree = ({ lo, size }: Piece) =>
  Number.isInteger(Math.log2(size)) && lo % size === 0;

/** The two parts that a piece of more than one shard is the sum of: subtrees, where it is one itself. */
export function halvesOf({ lo, size }: Piece): readonly [Piece, Piece] {
  let first = 1;
  while (first * 2 < size) first *= 2;
  return [
    { lo, size: first },
    { lo: lo + first, size: size - first },
  ];
}

/** How the whole is added up from the members' pieces, which cover all shards once, in order. */
export function sumOf(shards: number, pieces: readonly Piece[], mode: ExchangeMode): TreeStep {
  return mode === "exact" ? treeOf(shards, new Set(pieces.map(pieceKey))) : balanced(pieces);
}

function balanced(pieces: readonly Piece[]): TreeStep {
  const [piece] = pieces;
  assert(piece !== undefined, "there is a piece");
  if (pieces.length === 1) return { kind: "given", piece };
  const half = Math.ceil(pieces.length / 2);
  return {
    kind: "add",
    left: balanced(pieces.slice(0, half)),
    right: balanced(pieces.slice(half)),
  };
}

/** How the root is added up from pieces that cover all shards once. */
function treeOf(
  shards: number,
  given: ReadonlySet<string>,
  piece: Piece = { lo: 0, size: shards },
): TreeStep {
  if (given.has(pieceKey(piece))) return { kind: "given", piece };
  assert(piece.size > 1, "the pieces cover all shards");
  const [left, right] = halvesOf(piece);
  return {
    kind: "add",
    left: treeOf(shards, given, left),
    right: treeOf(shards, given, right),
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
