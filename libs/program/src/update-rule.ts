/**
 * An optimizer as data: element-wise arithmetic on flat float32 vectors, each operation rounded to
 * float32 once, in stages; between them norms, of which factors are made. So it can be run by
 * whatever is fastest, and gives the same bits everywhere.
 */
import { blocksOf, normOf, type Range, squaresOf } from "./norms.ts";

/** What a rule reads and writes, element by element; slots by index. */
export type VectorName = "parameters" | "gradient" | number;

export type Operation = "add" | "subtract" | "multiply" | "divide" | "minimum" | "maximum";

export type Term =
  | { readonly kind: "vector"; readonly vector: VectorName }
  /** A number of this step; index into the rule's scalars. */
  | { readonly kind: "scalar"; readonly index: number }
  /** A number that norms of this step give; index of the rule's factor. */
  | { readonly kind: "factor"; readonly index: number }
  | { readonly kind: Operation; readonly left: Term; readonly right: Term }
  | { readonly kind: "squareRoot"; readonly of: Term };

export interface Assignment {
  /**
   * A slot keeps no subnormal number, but 0: a momentum whose gradient has become 0 decays into such
   * numbers, with which processors compute many times slower.
   */
  readonly to: "parameters" | number;
  readonly value: Term;
}

/** A number made of norms: of all parameters at once, or of each tensor for itself. */
export interface Factor {
  /** Where terms find it: a number that no other factor of the rule has, from 0 without gaps. */
  readonly index: number;
  readonly over: "all" | "tensor";
  /** Whose Euclidean norms are taken; they read scalars and the factors of stages before. */
  readonly norms: readonly Term[];
  /** From the norms, in double; what it gives is rounded to float32. */
  readonly value: (norms: readonly number[]) => number;
}

export interface UpdateStage {
  /** Before the assignments. */
  readonly factors: readonly Factor[];
  /** In order: a later one reads what an earlier one assigned. */
  readonly assignments: readonly Assignment[];
}

export interface UpdateRule {
  readonly slotCount: number;
  readonly scalarCount: number;
  readonly stages: readonly UpdateStage[];
}

/** Raised whenever the same rule gives other bits: it is part of what workers compare. */
export const rulesVersion = 2;

/** The smallest normal number of float32: what is nearer to 0 is subnormal. */
export const smallestNormal = 2 ** -126;

export const parameter: Term = { kind: "vector", vector: "parameters" };
export const gradient: Term = { kind: "vector", vector: "gradient" };
export const slot = (index: number): Term => ({ kind: "vector", vector: index });
export const scalar = (index: number): Term => ({ kind: "scalar", index });
export const factor = (index: number): Term => ({ kind: "factor", index });
const binary =
  (kind: Operation) =>
  (left: Term, right: Term): Term => ({ kind, left, right });
export const add = binary("add");
export const subtract = binary("subtract");
export const multiply = binary("multiply");
export const divide = binary("divide");
export const minimum = binary("minimum");
export const maximum = binary("maximum");
export const squareRoot = (of: Term): Term => ({ kind: "squareRoot", of });

export interface RuleVectors {
  readonly parameters: Float32Array;
  readonly gradient: Float32Array;
  readonly slots: readonly Float32Array[];
}

export const factorsOf = ({ stages }: UpdateRule): readonly Factor[] =>
  stages.flatMap(({ factors }) => factors);

/** The numbers that terms read beside vectors. */
export interface RuleNumbers {
  readonly scalars: readonly number[];
  /** By index; those of the tensor at hand. */
  readonly factors: readonly number[];
}

/** How a rule's loops run; all ranges lie on multiples of 16 floats. */
export interface RuleLoops {
  assign(stage: UpdateStage, range: Range, numbers: RuleNumbers): void;
  /** The sum of a term's squares over one block, in the order that `squaresOf` gives. */
  squares(term: Term, block: Range, numbers: RuleNumbers): number;
}

export interface RuleStep {
  readonly scalars: readonly number[];
  /** Where each tensor lies, padding included: together the whole vector, in order. */
  readonly tensors: readonly Range[];
}

/** Applies a rule to whole vectors: stage by stage, tensor by tensor where a factor asks for it. */
export function runRule(rule: UpdateRule, step: RuleStep, loops: RuleLoops): void {
  const { scalars, tensors } = step;
  const all = factorsOf(rule);
  const isByTensor = all.some(({ over }) => over === "tensor");
  const whole = { from: 0, to: tensors.at(-1)?.to ?? 0 };
  const parts = (isByTensor ? tensors : [whole]).map((range) => ({
    range,
    numbers: { scalars, factors: all.map(() => 1) },
  }));
  const numbersOf = (tensor: number) => parts[isByTensor ? tensor : 0]!.numbers;
  for (const stage of rule.stages) {
    for (const made of stage.factors) {
      const values = valuesOf(made, tensors, numbersOf, loops);
      for (const [index, { numbers }] of parts.entries())
        numbers.factors[made.index] = values[made.over === "all" ? 0 : index]!;
    }
    if (stage.assignments.length === 0) continue;
    for (const { range, numbers } of parts) loops.assign(stage, range, numbers);
  }
}

/** A factor's value for each tensor, or its only one. Squares are added by tensors either way. */
function valuesOf(
  { norms, over, value }: Factor,
  tensors: readonly Range[],
  numbersOf: (tensor: number) => RuleNumbers,
  loops: RuleLoops,
): number[] {
  const squares = tensors.map((tensor, index) =>
    norms.map((term) =>
      blocksOf(tensor).map((block) => loops.squares(term, block, numbersOf(index))),
    ),
  );
  const valueOver = (some: typeof squares) =>
    value(norms.map((_, norm) => normOf(some.map((tensor) => tensor[norm]!))));
  return over === "all" ? [valueOver(squares)] : squares.map((tensor) => valueOver([tensor]));
}

const { fround } = Math;

/** The value of a term at element i. Float64 holds each result exactly enough to be rounded once. */
function valueAt(term: Term, vectors: RuleVectors, numbers: RuleNumbers, i: number): number {
  switch (term.kind) {
    case "scalar":
      return fround(numbers.scalars[term.index]!);
    case "factor":
      return fround(numbers.factors[term.index]!);
    case "vector":
      return vectorOf(vectors, term.vector)[i]!;
    case "squareRoot":
      return fround(Math.sqrt(valueAt(term.of, vectors, numbers, i)));
    default: {
      const left = valueAt(term.left, vectors, numbers, i);
      const right = valueAt(term.right, vectors, numbers, i);
      return fround(combine(term.kind, left, right));
    }
  }
}

function combine(kind: Operation, left: number, right: number): number {
  switch (kind) {
    case "add":
      return left + right;
    case "subtract":
      return left - right;
    case "multiply":
      return left * right;
    case "divide":
      return left / right;
    case "minimum":
      return Math.min(left, right);
    case "maximum":
      return Math.max(left, right);
  }
}

function vectorOf(vectors: RuleVectors, name: VectorName): Float32Array {
  return typeof name === "number" ? vectors.slots[name]! : vectors[name];
}

const keptIn = (target: Assignment["to"], value: number) =>
  target !== "parameters" && Math.abs(value) < smallestNormal ? 0 : value;

/** Applies the rule in the plainest way: what faster ways must equal. */
export function applyRule(rule: UpdateRule, vectors: RuleVectors, step: RuleStep): void {
  runRule(rule, step, {
    assign: ({ assignments }, { from, to }, numbers) => {
      for (let i = from; i < to; i += 1)
        for (const { to: target, value } of assignments)
          vectorOf(vectors, target)[i] = keptIn(target, valueAt(value, vectors, numbers, i));
    },
    squares: (term, block, numbers) => squaresOf(block, (i) => valueAt(term, vectors, numbers, i)),
  });
}
