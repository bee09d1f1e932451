/**
 * Records a computation while it runs operator by operator. What it makes on the way becomes a
 * constant; its inputs, the parameters, and uniform random tensors become the inputs of a graph. It
 * is recorded twice, with other data and other random numbers: both records must be equal, which
 * catches counters, other randomness, and control flow that depends on data.
 */
import { createHash } from "node:crypto";
import type { Place } from "@coxswain/domain";
import { type Tensor, tf } from "@coxswain/program";
import type { Attribute, Binding, RecordedBackend } from "./binding.ts";
import { isUniformOf, withDeterministicRandom } from "./deterministic.ts";
import { type ConstantValue, type OpFacts, readOpDef } from "./graph-def.ts";
import { type CallPlace, whereCalled } from "./user-place.ts";

export interface RecordedOp {
  readonly op: string;
  readonly attributes: readonly Attribute[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
  readonly where: CallPlace;
}

export interface Recording {
  /** Ids of what is given anew for each run: batch, then parameters. */
  readonly inputs: readonly { readonly id: number; readonly shape: readonly number[] }[];
  /** Uniform numbers in [0, 1) whose seed is the given draw of the run. */
  readonly randoms: readonly {
    readonly id: number;
    readonly draw: number;
    readonly shape: readonly number[];
  }[];
  readonly ops: readonly RecordedOp[];
  readonly constants: ReadonlyMap<number, ConstantValue>;
  /** Of what the operators make. */
  readonly shapes: ReadonlyMap<number, readonly number[]>;
  readonly outputs: readonly number[];
  /** What the outputs were. */
  readonly results: readonly Float32Array[];
}

/** Why a computation cannot be replayed; it runs operator by operator then. */
export class NotReplayable extends Error {}

export interface Recordable {
  /** Float32 tensors that it reads: batch, then parameters. */
  readonly inputs: readonly Tensor[];
  /** Makes the outputs; within a `tidy` of the caller. */
  readonly run: () => readonly Tensor[];
  /** Whose random numbers it draws. */
  readonly place: Place;
}

const knownOps = new Map<string, OpFacts>();

function factsOf(binding: Binding, op: string): OpFacts {
  const facts = knownOps.get(op) ?? readOpDef(binding.opDef(op));
  knownOps.set(op, facts);
  return facts;
}

/** Stands in for the addon while a computation runs, and writes down what it is asked. */
class Recorder {
  readonly ops: RecordedOp[] = [];
  readonly constants = new Map<number, ConstantValue>();
  readonly shapes = new Map<number, readonly number[]>();
  readonly draws: number[] = [];
  readonly randoms: { id: number; draw: number; shape: number[] }[] = [];
  /** The first reason, and the call that it comes from. */
  problem: { readonly what: string; readonly where: CallPlace } | undefined;
  readonly #native: Binding;
  /** Types of the tensors that belong to the step. */
  readonly #types: Map<number, number>;
  #lastOp = "no operator";

  constructor(native: Binding, inputs: readonly number[]) {
    this.#native = native;
    this.#types = new Map(inputs.map((id) => [id, native.TF_FLOAT]));
  }

  binding(): Binding {
    const recorder = Object.create(this.#native) as Binding;
    recorder.createTensor = (...given) => this.#createTensor(...given);
    recorder.tensorDataSync = (id) => {
      this.#refuse(`it reads values back while it runs, after ${this.#lastOp}`);
      return this.#native.tensorDataSync(id);
    };
    recorder.executeOp = (...given) => this.#executeOp(...given);
    return recorder;
  }

  #refuse(what: string): void {
    this.problem ??= { what, where: whereCalled() };
  }

  #createTensor(...[shape, dtype, values]: Parameters<Binding["createTensor"]>): number {
    const id = this.#native.createTensor(shape, dtype, values);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
    const draw = drawOf(values, this.draws);
    if (draw === undefined) this.constants.set(id, { dtype, shape: [...shape], bytes });
    else this.randoms.push({ id, draw, shape: [...shape] });
    this.#types.set(id, dtype);
    return id;
  }

  #executeOp(...[op, attributes, ids, count]: Parameters<Binding["executeOp"]>) {
    const { isStateful, inputTypes } = factsOf(this.#native, op);
    if (isStateful) this.#refuse(`operator ${op} keeps state`);
    if (!ids.every((id) => this.#types.has(id)))
      this.#refuse(`operator ${op} reads a tensor from outside the step`);
    const made = this.#native.executeOp(op, attributes, ids, count);
    this.#lastOp = `operator ${op}`;
    this.ops.push({
      op,
      attributes: [
        ...attributes.map((attribute) => ({ ...attribute })),
        ...this.#missingTypes(attributes, inputTypes, ids),
      ],
      inputs: [...ids],
      outputs: made.map(({ id }) => id),
      where: whereCalled(),
    });
    for (const { id, dtype, shape } of made) {
      this.#types.set(id, dtype);
      this.shapes.set(id, shape);
    }
    return made;
  }

  /** TensorFlow sees types by the inputs when it runs an operator; in a graph they must be said. */
  #missingTypes(
    given: readonly Attribute[],
    inputTypes: OpFacts["inputTypes"],
    ids: readonly number[],
  ): Attribute[] {
    const said = new Set(given.map(({ name }) => name));
    return inputTypes.flatMap((name, index) => {
      const value = this.#types.get(ids[index]!);
      if (name === undefined || value === undefined || said.has(name)) return [];
      said.add(name);
      return [{ name, type: this.#native.TF_ATTR_TYPE, value }];
    });
  }
}

/** @throws NotReplayable with the reason, the operator and the place in the program */
export function record(backend: RecordedBackend, { inputs, run, place }: Recordable): Recording {
  const native = backend.binding;
  const idOf = (tensor: Tensor) => backend.getInputTensorIds([tensor])[0]!;
  const given = inputs.map((tensor) => ({ id: idOf(tensor), shape: tensor.shape }));
  const recorder = new Recorder(
    native,
    given.map(({ id }) => id),
  );
  backend.binding = recorder.binding();
  let [outputs, results]: [readonly number[], readonly Float32Array[]] = [[], []];
  try {
    const onDraw = (draw: number) => void recorder.draws.push(draw);
    // An id is never used twice: it says what it is when the tensor is gone.
    tf.tidy(() => {
      const made = withDeterministicRandom(place, run, onDraw);
      backend.binding = native;
      outputs = made.map(idOf);
      results = made.map((tensor) => tensor.dataSync() as Float32Array);
    });
  } finally {
    backend.binding = native;
  }
  const { problem, randoms, ops, constants, shapes } = recorder;
  if (problem !== undefined) throw new NotReplayable(`${problem.what}${problem.where()}`);
  return { inputs: given, randoms, ops, constants, shapes, outputs, results };
}

/** Which draw seeded these values, when they are the uniform numbers of one. */
function drawOf(values: ArrayBufferView, draws: readonly number[]): number | undefined {
  if (!(values instanceof Float32Array) || values.length === 0) return undefined;
  const index = draws.findIndex((draw) => isUniformOf(draw, values));
  return index < 0 ? undefined : index;
}

/** @throws NotReplayable with the first operator in which two recordings of the same step differ */
export function requireEqual(first: Recording, second: Recording): void {
  const [one, two] = [linesOf(first), linesOf(second)];
  const index = one.findIndex((line, i) => line !== two[i]);
  if (index < 0 && one.length === two.length) return;
  const { op, where } = first.ops[index] ?? first.ops.at(-1) ?? { op: "none", where: () => "" };
  throw new NotReplayable(
    `two runs differ at operator ${op}${where()}: it counts, decides by its data, or draws other random numbers than uniform ones`,
  );
}

/** The recording without its numbers, a line for each operator, then the outputs. */
function linesOf(recording: Recording): string[] {
  const names = new Map<number, string>();
  for (const [index, { id, shape }] of recording.inputs.entries())
    names.set(id, `input ${index} [${shape}]`);
  for (const { id, draw, shape } of recording.randoms) names.set(id, `random ${draw} [${shape}]`);
  for (const [id, { dtype, shape, bytes }] of recording.constants) {
    const hash = createHash("sha256").update(bytes).digest("hex");
    if (!names.has(id)) names.set(id, `constant ${dtype} [${shape}] ${hash}`);
  }
  const lines = recording.ops.map(({ op, attributes, inputs, outputs }, index) => {
    const line = JSON.stringify([op, attributes, inputs.map((id) => names.get(id))]);
    for (const [output, id] of outputs.entries()) names.set(id, `${index}:${output}`);
    return line;
  });
  return [...lines, JSON.stringify(recording.outputs.map((id) => names.get(id)))];
}
