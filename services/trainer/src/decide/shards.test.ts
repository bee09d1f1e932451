import { deepEqual, equal, notDeepEqual } from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { assignShards, halvesOf, piecesOf, sliceOf, sumOf, type TreeStep } from "./shards.ts";

const shardCount = fc.integer({ min: 0, max: 8 }).map((power) => 2 ** power);
const group = shardCount.chain((shards) =>
  fc.record({ shards: fc.constant(shards), members: fc.integer({ min: 1, max: shards }) }),
);

test("every shard has one owner, and loads differ by one at most", () => {
  fc.assert(
    fc.property(group, ({ shards, members }) => {
      const ranges = assignShards(shards, members);
      equal(ranges[0]!.from, 0);
      equal(ranges.at(-1)!.to, shards);
      for (const [rank, { from }] of ranges.entries())
        if (rank > 0) equal(from, ranges[rank - 1]!.to);
      const loads = ranges.map(({ from, to }) => to - from);
      equal(Math.max(...loads) - Math.min(...loads) <= 1, true);
    }),
  );
});

test("pieces are aligned, cover the range once, and are as few as can be", () => {
  fc.assert(
    fc.property(group, ({ shards, members }) => {
      for (const range of assignShards(shards, members)) {
        const pieces = piecesOf(range, "exact");
        const covered = pieces.flatMap(({ lo, size }) =>
          Array.from({ length: size }, (_, i) => lo + i),
        );
        deepEqual(
          covered,
          Array.from({ length: range.to - range.from }, (_, i) => range.from + i),
        );
        for (const { lo, size } of pieces) equal(lo % size, 0);
        equal(pieces.length <= 2 * Math.log2(shards) + 1, true);
      }
    }),
  );
});

test("the sum has the same bits for every number of members", () => {
  fc.assert(
    fc.property(
      group,
      fc.array(fc.float({ noNaN: true }), { minLength: 256, maxLength: 256 }),
      ({ shards, members }, leaves) => {
        const tree = (lo: number, size: number): number =>
          size === 1
            ? leaves[lo]!
            : Math.fround(tree(lo, size / 2) + tree(lo + size / 2, size / 2));
        const ranges = assignShards(shards, members);
        const pieces = ranges.flatMap((range) => piecesOf(range, "exact"));
        const add = (node: TreeStep): number =>
          node.kind === "given"
            ? tree(node.piece.lo, node.piece.size)
            : Math.fround(add(node.left) + add(node.right));
        equal(Object.is(add(sumOf(shards, pieces, "exact")), tree(0, shards)), true);
      },
    ),
  );
  // The order matters, so the test can fail.
  notDeepEqual(
    Math.fround(Math.fround(1e20 + 1) - 1e20),
    Math.fround(1 + Math.fround(1e20 - 1e20)),
  );
});

test("fast: each member has one piece, and their sum has every shard once", () => {
  fc.assert(
    fc.property(group, ({ shards, members }) => {
      const ranges = assignShards(shards, members);
      const pieces = ranges.flatMap((range) => piecesOf(range, "fast"));
      equal(pieces.length, members);
      const summed = (node: TreeStep): number[] =>
        node.kind === "given"
          ? Array.from({ length: node.piece.size }, (_, i) => node.piece.lo + i)
          : [...summed(node.left), ...summed(node.right)];
      deepEqual(
        summed(sumOf(shards, pieces, "fast")),
        Array.from({ length: shards }, (_, shard) => shard),
      );
    }),
  );
});

test("a piece is the sum of two neighbours; a subtree of two equal ones", () => {
  fc.assert(
    fc.property(fc.nat(64), fc.integer({ min: 2, max: 64 }), (lo, size) => {
      const [left, right] = halvesOf({ lo, size });
      deepEqual([left.lo, left.lo + left.size, right.lo + right.size], [lo, right.lo, lo + size]);
      equal(left.size >= right.size && right.size > 0, true);
      if (Number.isInteger(Math.log2(size))) equal(left.size, right.size);
    }),
  );
});

test("slices cover the vector once, on boundaries of 64 bytes", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5000 }),
      fc.integer({ min: 1, max: 64 }),
      (lines, ranks) => {
        const floats = lines * 16;
        let end = 0;
        for (let rank = 0; rank < ranks; rank += 1) {
          const { from, to } = sliceOf(floats, rank, ranks);
          equal(from, end);
          equal(from % 16, 0);
          end = to;
        }
        equal(end, floats);
      },
    ),
  );
});
