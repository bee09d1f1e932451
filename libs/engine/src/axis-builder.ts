/** Builds the operators of several shards from those of one: what the rules of `axis-rules.ts` need. */
import type { Attribute, Binding } from "./binding.ts";
import type { ConstantValue } from "./graph-def.ts";
import type { RecordedGraph, RecordedOp, Recording } from "./record.ts";

export type Steps = Pick<Recording, "inputs" | "randoms" | "ops" | "constants" | "shapes" | "made">;
export type Types = Pick<Binding, "TF_FLOAT" | "TF_INT32" | "TF_ATTR_INT" | "TF_ATTR_TYPE">;

export interface WithShardAxis extends RecordedGraph {
  /** The tensor that stands for this one of the recording. */
  idOf(id: number): number;
}

/** Length of the first axis. */
export const anyShards = -1;
export const sizeOf = (shape: readonly number[]) =>
  shape.reduce((size, length) => size * length, 1);

/** An operator cannot be applied to several shards at once. */
export class NoRule extends Error {}

export interface Call {
  readonly op: RecordedOp;
  /** Without the axis. */
  readonly shapes: readonly (readonly number[])[];
  /** Of the first result, without the axis. */
  readonly outputShape: readonly number[];
}

/** Gives the ids of the results. @throws NoRule */
export type Rule = (axis: AxisBuilder, call: Call) => number[];

const noRule: Rule = () => {
  throw new NoRule();
};

export class AxisBuilder {
  readonly #types: Types;
  readonly #given: Steps;
  readonly #ops: RecordedOp[] = [];
  readonly #constants: Map<number, ConstantValue>;
  readonly #shapes: Map<number, readonly number[]>;
  readonly #dtypes = new Map<number, number>();
  /** With the axis, by what they stand for. */
  readonly #batched = new Map<number, number>();
  #nextId: number;
  #where: RecordedOp["where"] = () => "";

  constructor(types: Types, given: Steps, batchInputs: number) {
    this.#types = types;
    this.#given = given;
    this.#constants = new Map(given.constants);
    this.#shapes = new Map(given.shapes);
    const { inputs, randoms, constants, made } = given;
    for (const { id, shape } of [...inputs, ...randoms]) this.#shapes.set(id, shape);
    for (const [id, { dtype, shape }] of constants) {
      this.#dtypes.set(id, dtype);
      this.#shapes.set(id, shape);
    }
    for (const { id } of [...inputs, ...randoms]) this.#dtypes.set(id, types.TF_FLOAT);
    for (const { id, dtype } of made.flat()) this.#dtypes.set(id, dtype);
    this.#nextId = Math.max(0, ...this.#dtypes.keys()) + 1;
    const ofShard = [...inputs.slice(0, batchInputs), ...randoms];
    for (const { id } of ofShard) this.#batched.set(id, this.#newId(this.#dtypes.get(id)!));
  }

  /** @throws NoRule */
  whole(rules: Readonly<Record<string, Rule>>): WithShardAxis {
    for (const op of this.#given.ops) {
      if (!op.inputs.some((id) => this.#batched.has(id))) {
        this.#ops.push(op);
        continue;
      }
      this.#where = op.where;
      const shapes = op.inputs.map((id) => this.shapeOf(id));
      const call: Call = { op, shapes, outputShape: this.shapeOf(op.outputs[0]!) };
      const ids = (rules[op.op] ?? noRule)(this, call);
      for (const [index, id] of op.outputs.entries()) this.#batched.set(id, ids[index]!);
    }
    const withAxis = <Given extends { readonly id: number; readonly shape: readonly number[] }>(
      given: Given,
    ) =>
      this.isBatched(given.id)
        ? { ...given, id: this.idOf(given.id), shape: [anyShards, ...given.shape] }
        : given;
    return {
      inputs: this.#given.inputs.map(withAxis),
      randoms: this.#given.randoms.map(withAxis),
      ops: this.#ops,
      constants: this.#constants,
      idOf: (id) => this.idOf(id),
    };
  }

  isBatched(id: number): boolean {
    return this.#batched.has(id);
  }

  idOf(id: number): number {
    return this.#batched.get(id) ?? id;
  }

  shapeOf(id: number): readonly number[] {
    return this.#shapes.get(id)!;
  }

  /** Of a constant. @throws NoRule when the numbers are computed */
  numbersOf(id: number): number[] {
    const { dtype, bytes } = this.#constants.get(id) ?? {};
    if (bytes === undefined || dtype !== this.#types.TF_INT32) throw new NoRule();
    return [...new Int32Array(bytes.slice().buffer)];
  }

  /** A constant. */
  numbers(values: readonly number[], shape: readonly number[] = [values.length]): number {
    const id = this.#newId(this.#types.TF_INT32);
    const bytes = new Uint8Array(Int32Array.from(values).buffer);
    this.#constants.set(id, { dtype: this.#types.TF_INT32, shape, bytes });
    return id;
  }

  /** The same operator, on tensors with the axis. */
  again({ op }: Call, inputs = op.inputs.map((id) => this.idOf(id)), more: Attribute[] = []) {
    const replaced = new Set(more.map(({ name }) => name));
    const attributes = [...op.attributes.filter(({ name }) => !replaced.has(name)), ...more];
    const outputs = op.outputs.map((id) => this.#newId(this.#dtypes.get(id)!));
    this.#ops.push({ op: op.op, attributes, inputs, outputs, where: this.#where });
    return outputs;
  }

  /**
   * Another operator.
   * @param like of whose type the result is
   * @param typeName what the operator calls the type of its first input
   */
  make(
    op: string,
    inputs: readonly number[],
    { like = inputs[0]!, typeName = "T", more = [] as Attribute[] } = {},
  ): number {
    const id = this.#newId(this.#dtypes.get(like)!);
    const attributes = [this.typeAttribute(typeName, this.#dtypes.get(inputs[0]!)!), ...more];
    this.#ops.push({ op, attributes, inputs, outputs: [id], where: this.#where });
    return id;
  }

  /** @param shape one length may be -1 */
  reshape(id: number, shape: readonly number[]): number {
    const more = [this.typeAttribute("Tshape")];
    return this.make("Reshape", [id, this.numbers(shape)], { more });
  }

  /** Apart again: the result of a call whose shards lay one behind the other. */
  unfolded(id: number, { outputShape }: Call): number {
    return this.reshape(id, [anyShards, ...outputShape]);
  }

  /** @throws NoRule unless all of these have the axis */
  requireBatched(ids: readonly number[]): void {
    if (!ids.every((id) => this.isBatched(id))) throw new NoRule();
  }

  /** @throws NoRule unless none of these has the axis */
  requireShared(ids: readonly number[]): void {
    if (ids.some((id) => this.isBatched(id))) throw new NoRule();
  }

  /** How many shards there are: a number, made of a tensor of integers. */
  count(id: number): number {
    const size = this.make("Size", [this.idOf(id)], {
      like: this.numbers([]),
      more: [this.typeAttribute("out_type")],
    });
    return this.make("FloorDiv", [size, this.numbers([sizeOf(this.shapeOf(id))], [])]);
  }

  typeAttribute(name: string, value = this.#types.TF_INT32): Attribute {
    return { name, type: this.#types.TF_ATTR_TYPE, value };
  }

  /** With the axis before so many others, whatever the tensor has; what has no axis stays. */
  aligned(id: number, rank: number): number {
    const shape = this.shapeOf(id);
    if (!this.isBatched(id) || shape.length === rank) return this.idOf(id);
    const ones = Array.from({ length: rank - shape.length }, () => 1);
    return this.reshape(this.idOf(id), [anyShards, ...ones, ...shape]);
  }

  int(name: string, value: number): Attribute {
    return { name, type: this.#types.TF_ATTR_INT, value };
  }

  #newId(dtype: number): number {
    const id = this.#nextId;
    this.#nextId += 1;
    this.#dtypes.set(id, dtype);
    return id;
  }
}
