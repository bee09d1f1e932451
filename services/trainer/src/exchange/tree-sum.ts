/** The canonical sum of pieces, part by part of the vector. */
import type { Piece, TreeStep } from "../decide/shards.ts";
import type { Kernels } from "./kernels.ts";

/** Adds up the floats `from <= i < to` of all pieces. */
export type Sum = (from: number, to: number) => void;

export interface SumOptions {
  readonly tree: TreeStep;
  readonly out: Float32Array;
  readonly given: (piece: Piece) => Part;
  /** Memory for as many floats as are ever added up in one call. */
  readonly room: () => Float32Array;
  readonly kernels: Pick<Kernels, "add" | "copy">;
}

/** The floats `from <= i < to` of a vector that is given, or of what was just added up. */
export type Part = (from: number, to: number) => Float32Array;

/** Pieces stay as they are; of what was added up between, one room for each place in the tree is enough. */
export function buildSum({ tree, out, given, room, kernels }: SumOptions): Sum {
  const adds: Sum[] = [];
  const rooms = new Map<string, Float32Array>();
  const whole =
    (vector: Float32Array): Part =>
    (from, to) =>
      vector.subarray(from, to);
  const roomAt = (depth: number, side: string): Part => {
    const key = `${depth} ${side}`;
    const vector = rooms.get(key) ?? room();
    rooms.set(key, vector);
    return (from, to) => vector.subarray(0, to - from);
  };
  const partOf = (step: TreeStep, depth: number, side: string): Part => {
    if (step.kind === "given") return given(step.piece);
    const left = partOf(step.left, depth + 1, "left");
    const right = partOf(step.right, depth + 1, "right");
    const into = depth === 0 ? whole(out) : roomAt(depth, side);
    adds.push((from, to) => kernels.add(into(from, to), left(from, to), right(from, to)));
    return into;
  };
  const root = partOf(tree, 0, "root");
  if (adds.length === 0) return (from, to) => kernels.copy(whole(out)(from, to), root(from, to));
  return (from, to) => {
    for (const add of adds) add(from, to);
  };
}
