/** An optimizer's rule as one SIMD loop on vectors in a WebAssembly memory: the rule's own bits. */
import type { RuleVectors, Term, UpdateRule, VectorName } from "@coxswain/program";
import { instantiate, loopOver, op, types, type WasmFunction } from "./wasm-module.ts";

/** Vectors lie in the memory, on 16-byte boundaries, with equal lengths that are multiples of four. */
export type UpdateKernel = (vectors: RuleVectors, scalars: readonly number[]) => void;

/**
 * Parameters of the function: pointers to parameters, gradient and the slots, the bytes of a vector,
 * the scalars. Locals: a v128 for each vector.
 */
class Places {
  readonly #rule: UpdateRule;

  constructor(rule: UpdateRule) {
    this.#rule = rule;
  }

  get vectors(): VectorName[] {
    return ["parameters", "gradient", ...Array.from({ length: this.#rule.slotCount }, (_, i) => i)];
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
  value(vector: VectorName): number {
    return this.scalar(this.#rule.scalarCount) + this.pointer(vector);
  }
}

function codeOf(term: Term, places: Places): number[] {
  switch (term.kind) {
    case "vector":
      return op.get(places.value(term.vector));
    case "scalar":
      return [...op.get(places.scalar(term.index)), ...op.f32x4Splat];
    case "squareRoot":
      return [...codeOf(term.of, places), ...op.f32x4.squareRoot];
    default:
      return [...codeOf(term.left, places), ...codeOf(term.right, places), ...op.f32x4[term.kind]];
  }
}

function functionOf(rule: UpdateRule): WasmFunction {
  const places = new Places(rule);
  const { vectors } = places;
  const load = (vector: VectorName) => [
    ...op.get(places.pointer(vector)),
    ...op.v128Load,
    ...op.set(places.value(vector)),
  ];
  const store = (vector: VectorName) => [
    ...op.get(places.pointer(vector)),
    ...op.get(places.value(vector)),
    ...op.v128Store,
  ];
  const assigned = [...new Set(rule.assignments.map(({ to }) => to))];
  return {
    name: "update",
    parameters: [
      ...vectors.map(() => types.i32),
      types.i32,
      ...Array.from({ length: rule.scalarCount }, () => types.f32),
    ],
    locals: [{ count: vectors.length, type: types.v128 }],
    body: loopOver(
      places.bytes,
      vectors.map((vector) => places.pointer(vector)),
      [
        ...vectors.flatMap(load),
        ...rule.assignments.flatMap(({ to, value }) => [
          ...codeOf(value, places),
          ...op.set(places.value(to)),
        ]),
        ...assigned.flatMap(store),
      ],
    ),
  };
}

export function buildUpdate(memory: WebAssembly.Memory, rule: UpdateRule): UpdateKernel {
  const { update } = instantiate(memory, [functionOf(rule)]);
  return ({ parameters, gradient, slots }, scalars) => {
    const pointers = [parameters, gradient, ...slots].map(({ byteOffset }) => byteOffset);
    update!(...pointers, parameters.byteLength, ...scalars);
  };
}
