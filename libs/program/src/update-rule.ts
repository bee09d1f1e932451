/**
 * An optimizer as data: element-wise arithmetic on flat float32 vectors, each operation rounded to
 * float32 once. So it can be shipped, run by whatever is fastest, and gives the same bits everywhere.
 */

/** What a rule reads and writes, element by element; slots by index. */
export type VectorName = "parameters" | "gradient" | number;

export type Term =
  | { readonly kind: "vector"; readonly vector: VectorName }
  /** A number of this step; index into the rule's scalars. */
  | { readonly kind: "scalar"; readonly index: number }
  | {
      readonly kind: "add" | "subtract" | "multiply" | "divide";
      readonly left: Term;
      readonly right: Term;
    }
  | { readonly kind: "squareRoot"; readonly of: Term };

export interface Assignment {
  readonly to: "parameters" | number;
  readonly value: Term;
}

export interface UpdateRule {
  readonly slotCount: number;
  readonly scalarCount: number;
  /** In order: a later one reads what an earlier one assigned. */
  readonly assignments: readonly Assignment[];
}

export const parameter: Term = { kind: "vector", vector: "parameters" };
export const gradient: Term = { kind: "vector", vector: "gradient" };
export const slot = (index: number): Term => ({ kind: "vector", vector: index });
export const scalar = (index: number): Term => ({ kind: "scalar", index });
export const add = (left: Term, right: Term): Term => ({ kind: "add", left, right });
export const subtract = (left: Term, right: Term): Term => ({ kind: "subtract", left, right });
export const multiply = (left: Term, right: Term): Term => ({ kind: "multiply", left, right });
export const divide = (left: Term, right: Term): Term => ({ kind: "divide", left, right });
export const squareRoot = (of: Term): Term => ({ kind: "squareRoot", of });

export interface RuleVectors {
  readonly parameters: Float32Array;
  readonly gradient: Float32Array;
  readonly slots: readonly Float32Array[];
}

const { fround } = Math;

/** The value of a term at element i. Float64 holds each result exactly enough to be rounded once. */
function valueAt(term: Term, vectors: RuleVectors, scalars: readonly number[], i: number): number {
  switch (term.kind) {
    case "scalar":
      return fround(scalars[term.index]!);
    case "vector":
      return vectorOf(vectors, term.vector)[i]!;
    case "squareRoot":
      return fround(Math.sqrt(valueAt(term.of, vectors, scalars, i)));
    default: {
      const left = valueAt(term.left, vectors, scalars, i);
      const right = valueAt(term.right, vectors, scalars, i);
      return fround(combine(term.kind, left, right));
    }
  }
}

function combine(
  kind: "add" | "subtract" | "multiply" | "divide",
  left: number,
  right: number,
): number {
  switch (kind) {
    case "add":
      return left + right;
    case "subtract":
      return left - right;
    case "multiply":
      return left * right;
    case "divide":
      return left / right;
  }
}

function vectorOf(vectors: RuleVectors, name: VectorName): Float32Array {
  return typeof name === "number" ? vectors.slots[name]! : vectors[name];
}

/** Applies the rule to elements `from <= i < to`, in the plainest way: what faster ways must equal. */
export function applyRule(
  rule: UpdateRule,
  vectors: RuleVectors,
  scalars: readonly number[],
  { from, to }: { readonly from: number; readonly to: number },
): void {
  for (let i = from; i < to; i += 1)
    for (const { to: target, value } of rule.assignments)
      vectorOf(vectors, target)[i] = valueAt(value, vectors, scalars, i);
}
