/** An optimizer's rule as SIMD loops on vectors in a WebAssembly memory: the rule's own bits. */
import {
  factorsOf,
  type Range,
  type RuleNumbers,
  type RuleStep,
  type RuleVectors,
  runRule,
  type Term,
  type UpdateRule,
  type UpdateStage,
  type VectorName,
} from "@coxswain/program";
import { instantiate, loopOver, op, types, type WasmFunction } from "./wasm-module.ts";

/** Vectors lie in the memory, on 64-byte boundaries, with equal lengths that are multiples of 16. */
export type UpdateKernel = (vectors: RuleVectors, step: RuleStep) => void;

/**
 * Parameters of each function: pointers to parameters, gradient and the slots, the bytes of a range,
 * scalars, factors. Locals: a v128 for each vector, then `extra` more.
 */
class Places {
  readonly #rule: UpdateRule;

  constructor(rule: UpdateRule) {
    this.#rule = rule;
  }

  get vectors(): VectorName[] {
    return ["parameters", "gradient", ...Array.from({ length: this.#rule.slotCount }, (_, i) => i)];
  }
  get parameters(): number[] {
    const numbers = this.#rule.scalarCount + factorsOf(this.#rule).length;
    const pointers = this.vectors.map(() => types.i32);
    return [...pointers, types.i32, ...Array.from({ length: numbers }, () => types.f32)];
  }
  get bytes(): number {
    return this.vectors.length;
  }
  pointer(vector: VectorName): number {
    return this.vectors.indexOf(vector);
  }
  scalar(index: number): number {
    return this.bytes + 1 + index;
  }
  factor(index: number): number {
    return this.scalar(this.#rule.scalarCount) + index;
  }
  value(vector: VectorName): number {
    return this.parameters.length + this.pointer(vector);
  }
  extra(index: number): number {
    return this.parameters.length + this.vectors.length + index;
  }
}

function codeOf(term: Term, places: Places): number[] {
  switch (term.kind) {
    case "vector":
      return op.get(places.value(term.vector));
    case "scalar":
      return [...op.get(places.scalar(term.index)), ...op.f32x4Splat];
    case "factor":
      return [...op.get(places.factor(term.index)), ...op.f32x4Splat];
    case "squareRoot":
      return [...codeOf(term.of, places), ...op.f32x4.squareRoot];
    default:
      return [...codeOf(term.left, places), ...codeOf(term.right, places), ...op.f32x4[term.kind]];
  }
}

/** The vectors that a term reads. */
function readBy(term: Term): VectorName[] {
  switch (term.kind) {
    case "vector":
      return [term.vector];
    case "scalar":
    case "factor":
      return [];
    case "squareRoot":
      return readBy(term.of);
    default:
      return [...readBy(term.left), ...readBy(term.right)];
  }
}

/** A loop that loads vectors, then does `body`, four floats at a time. */
function over(vectors: readonly VectorName[], places: Places, body: readonly number[]): number[] {
  const used = [...new Set(vectors)];
  const load = (vector: VectorName) => [
    ...op.get(places.pointer(vector)),
    ...op.v128Load,
    ...op.set(places.value(vector)),
  ];
  return loopOver(
    places.bytes,
    used.map((vector) => places.pointer(vector)),
    [...used.flatMap(load), ...body],
  );
}

/** Bits of the smallest normal number. */
const smallestNormalBits = 0x0080_0000;

/** Subnormal numbers of a local become 0; what is not a number stays. */
const withoutSubnormals = (local: number) => [
  ...op.get(local),
  ...[...op.get(local), ...op.f32x4.absolute],
  ...[...op.f32Const(smallestNormalBits), ...op.f32x4Splat, ...op.f32x4.less],
  ...op.v128AndNot,
  ...op.set(local),
];

function assignFunction(name: string, { assignments }: UpdateStage, places: Places): WasmFunction {
  const assigned = [...new Set(assignments.map(({ to }) => to))];
  const store = (vector: VectorName) => [
    ...op.get(places.pointer(vector)),
    ...op.get(places.value(vector)),
    ...op.v128Store,
  ];
  const read = assignments.flatMap(({ value }) => readBy(value));
  return {
    name,
    parameters: places.parameters,
    locals: [{ count: places.vectors.length, type: types.v128 }],
    body: over([...read, ...assigned], places, [
      ...assignments.flatMap(({ to, value }) => [
        ...codeOf(value, places),
        ...op.set(places.value(to)),
        ...(to === "parameters" ? [] : withoutSubnormals(places.value(to))),
      ]),
      ...assigned.flatMap(store),
    ]),
  };
}

/** The sum of a term's squares in double, in the order of `squaresOf`. */
function squaresFunction(name: string, term: Term, places: Places): WasmFunction {
  const [value, lower, upper] = [places.extra(0), places.extra(1), places.extra(2)];
  const addSquares = (sum: number, shift: readonly number[]) => {
    const widened = [...op.get(value), ...shift, ...op.f64x2.ofLowerFloats];
    const squares = [...widened, ...widened, ...op.f64x2.multiply];
    return [...op.get(sum), ...squares, ...op.f64x2.add, ...op.set(sum)];
  };
  const loop = over(readBy(term), places, [
    ...[...codeOf(term, places), ...op.set(value)],
    ...addSquares(lower, []),
    ...addSquares(upper, [...op.get(value), ...op.upperHalf]),
  ]);
  const sums = [...op.get(lower), ...op.get(upper), ...op.f64x2.add];
  return {
    name,
    parameters: places.parameters,
    results: [types.f64],
    locals: [{ count: places.vectors.length + 3, type: types.v128 }],
    body: [
      ...loop,
      ...[...sums, ...op.f64x2.lane(0)],
      ...[...sums, ...op.f64x2.lane(1)],
      ...op.f64Add,
    ],
  };
}

export function buildUpdate(memory: WebAssembly.Memory, rule: UpdateRule): UpdateKernel {
  const places = new Places(rule);
  const assigns = new Map(rule.stages.map((stage, index) => [stage, `assign${index}`]));
  const terms = factorsOf(rule).flatMap(({ norms }) => norms);
  const squares = new Map(terms.map((term, index) => [term, `squares${index}`]));
  const functions = instantiate(memory, [
    ...[...assigns].map(([stage, name]) => assignFunction(name, stage, places)),
    ...[...squares].map(([term, name]) => squaresFunction(name, term, places)),
  ]);
  return ({ parameters, gradient, slots }, step) => {
    const pointers = [parameters, gradient, ...slots].map(({ byteOffset }) => byteOffset);
    const call = (name: string, { from, to }: Range, { scalars, factors }: RuleNumbers) =>
      functions[name]!(
        ...pointers.map((pointer) => pointer + 4 * from),
        4 * (to - from),
        ...scalars,
        ...factors,
      );
    runRule(rule, step, {
      assign: (stage, range, numbers) => void call(assigns.get(stage)!, range, numbers),
      squares: (term, block, numbers) => call(squares.get(term)!, block, numbers)!,
    });
  };
}
