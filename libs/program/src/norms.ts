/**
 * Norms whose bits do not depend on who takes them: a tensor is cut into fixed blocks, each block's
 * squares are added in one order, and the blocks' sums in a binary tree. Whoever holds a block can
 * add it up, and the norm is the same.
 */

/** Floats `from <= i < to`. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

export const blockFloats = 4096;

/** The blocks of a tensor, counted from its own beginning. */
export function blocksOf({ from, to }: Range): Range[] {
  return Array.from({ length: Math.ceil((to - from) / blockFloats) }, (_, index) => {
    const first = from + index * blockFloats;
    return { from: first, to: Math.min(to, first + blockFloats) };
  });
}

/**
 * The squares of a block, in double: element i goes to sum i mod 4, and the four become
 * (s0 + s2) + (s1 + s3). A square of a float32 is exact in double.
 */
export function squaresOf({ from, to }: Range, valueAt: (i: number) => number): number {
  const sums = [0, 0, 0, 0];
  for (let i = from; i < to; i += 1) {
    const value = valueAt(i);
    sums[(i - from) % 4]! += value * value;
  }
  return sums[0]! + sums[2]! + (sums[1]! + sums[3]!);
}

/** Neighbours are added pair by pair until one is left; an odd last one waits for the next round. */
export function treeSum(values: readonly number[]): number {
  let level = values;
  while (level.length > 1)
    level = Array.from({ length: Math.ceil(level.length / 2) }, (_, index) =>
      2 * index + 1 < level.length ? level[2 * index]! + level[2 * index + 1]! : level[2 * index]!,
    );
  return level[0] ?? 0;
}

/** The Euclidean norm over tensors, from the squares of their blocks. */
export function normOf(tensors: readonly (readonly number[])[]): number {
  return Math.sqrt(treeSum(tensors.map(treeSum)));
}
