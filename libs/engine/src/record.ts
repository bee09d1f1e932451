/**
 * Records a computation while it runs operator by operator. What it makes on the way becomes a
 * constant; its inputs, the parameters, and uniform random tensors become the inputs of a graph. It
 * is recorded twice, with other data and other random numbers: both records must be equal, which
 * catches counters, other randomness, and control flow that depends on data. The second time nothing
 * is computed: a step reads no values, so what the operators of the first made will do.
 */
import { createHash } from "node:crypto";
import type { Place } from "@coxswain/domain";
import { type Tensor, tf } from "@coxswain/program";
import type { Attribute, Binding, OutputFacts, RecordedBackend } from "./binding.ts";
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
  /** What the outputs were; none of a recording that followed another. */
  readonly results: readonly Float32Array[];
  /** What each operator made. */
  readonly made: readonly (readonly OutputFacts[])[];
  /** Without its numbers: a line for each operator, then the outputs. */
  readonly lines: readonly string[];
}

/** What a graph is made of. */
export type RecordedGraph = Pick<Recording, "inputs" | "randoms" | "ops" | "constants">;

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
  readonly made: (readonly OutputFacts[])[] = [];
  readonly lines = new Lines();
  readonly #native: Binding;
  readonly #follows: Recording | undefined;
  /** Tensors that nothing computed have ids below 0. */
  #nextId = -1;
  /** Types of the tensors that belong to the step. */
  readonly #types: Map<number, number>;
  #lastOp = "no operator";

  constructor(native: Binding, inputs: Recording["inputs"], follows: Recording | undefined) {
    this.#native = native;
    this.#follows = follows;
    this.#types = new Map(inputs.map(({ id }) => [id, native.TF_FLOAT]));
    for (const [index, { id, shape }] of inputs.entries())
      this.lines.name(id, `input ${index} [${shape}]`);
  }

  binding(): Binding {
    const recorder = Object.create(this.#native) as Binding;
    recorder.createTensor = (...given) => this.#createTensor(...given);
    recorder.tensorDataSync = (id) => {
      this.#refuse(`it reads values back while it runs, after ${this.#lastOp}`);
      return this.#native.tensorDataSync(id);
    };
    recorder.deleteTensor = (id) => {
      if (id >= 0) this.#native.deleteTensor(id);
    };
    recorder.executeOp = (...given) => this.#executeOp(...given);
    return recorder;
  }

  #refuse(what: string): void {
    this.problem ??= { what, where: whereCalled() };
    // Nothing was computed that could be given.
    if (this.#follows !== undefined) throw refusal(this.problem);
  }

  #createTensor(...[shape, dtype, values]: Parameters<Binding["createTensor"]>): number {
    const id = this.#native.createTensor(shape, dtype, values);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
    const draw = drawOf(values, this.draws);
    if (draw === undefined) {
      const hash = createHash("sha256").update(bytes).digest("hex");
      this.constants.set(id, { dtype, shape: [...shape], bytes });
      this.lines.name(id, `constant ${dtype} [${shape}] ${hash}`);
    } else {
      this.randoms.push({ id, draw, shape: [...shape] });
      this.lines.name(id, `random ${draw} [${shape}]`);
    }
    this.#types.set(id, dtype);
    return id;
  }

  #executeOp(...[op, attributes, ids, count]: Parameters<Binding["executeOp"]>) {
    const { isStateful, inputTypes } = factsOf(this.#native, op);
    if (isStateful) this.#refuse(`operator ${op} keeps state`);
    if (!ids.every((id) => this.#types.has(id)))
      this.#refuse(`operator ${op} reads a tensor from outside the step`);
    const given = [
      ...attributes.map((attribute) => ({ ...attribute })),
      ...this.#missingTypes(attributes, inputTypes, ids),
    ];
    this.lines.begin(op, given, ids);
    const made = this.#followed() ?? this.#native.executeOp(op, attributes, ids, count);
    const outputs = made.map(({ id }) => id);
    this.lines.end(outputs);
    this.made.push(made);
    this.#lastOp = `operator ${op}`;
    this.ops.push({ op, attributes: given, inputs: [...ids], outputs, where: whereCalled() });
    for (const { id, dtype, shape } of made) {
      this.#types.set(id, dtype);
      this.shapes.set(id, shape);
    }
    return made;
  }

  /** What the operator made in the recording that is followed. @throws NotReplayable when it was another */
  #followed(): OutputFacts[] | undefined {
    const first = this.#follows;
    if (first === undefined) return undefined;
    const index = this.made.length;
    if (this.lines.last !== first.lines[index]) throw difference(first, index);
    return first.made[index]!.map(({ dtype, shape }) => {
      const id = this.#nextId;
      this.#nextId -= 1;
      return { id, dtype, shape: [...shape] };
    });
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

/**
 * @param follows a recording of the same computation, which this one must equal
 * @throws NotReplayable with the reason, the operator and the place in the program
 */
export function record(
  backend: RecordedBackend,
  { inputs, run, place }: Recordable,
  follows?: Recording,
): Recording {
  const native = backend.binding;
  const idOf = (tensor: Tensor) => backend.getInputTensorIds([tensor])[0]!;
  const given = inputs.map((tensor) => ({ id: idOf(tensor), shape: tensor.shape }));
  const recorder = new Recorder(native, given, follows);
  backend.binding = recorder.binding();
  let [outputs, results]: [readonly number[], readonly Float32Array[]] = [[], []];
  try {
    const onDraw = (draw: number) => void recorder.draws.push(draw);
    // An id is never used twice: it says what it is when the tensor is gone.
    tf.tidy(() => {
      const made = withDeterministicRandom(place, run, onDraw);
      outputs = made.map(idOf);
      if (follows !== undefined) return;
      backend.binding = native;
      results = made.map((tensor) => tensor.dataSync() as Float32Array);
    });
  } finally {
    backend.binding = native;
  }
  const { problem, randoms, ops, constants, shapes, made } = recorder;
  if (problem !== undefined) throw refusal(problem);
  const lines = recorder.lines.withOutputs(outputs);
  const isSame = follows === undefined || lines.at(-1) === follows.lines[ops.length];
  if (!isSame) throw difference(follows, ops.length);
  return { inputs: given, randoms, ops, constants, shapes, outputs, results, made, lines };
}

/** Which draw seeded these values, when they are the uniform numbers of one. */
function drawOf(values: ArrayBufferView, draws: readonly number[]): number | undefined {
  if (!(values instanceof Float32Array) || values.length === 0) return undefined;
  const index = draws.findIndex((draw) => isUniformOf(draw, values));
  return index < 0 ? undefined : index;
}

const refusal = ({ what, where }: NonNullable<Recorder["problem"]>) =>
  new NotReplayable(`${what}${where()}`);

/** Two recordings of the same step differ at this operator of the first. */
function difference(first: Recording, index: number): NotReplayable {
  const { op, where } = first.ops[index] ?? first.ops.at(-1) ?? { op: "none", where: () => "" };
  return new NotReplayable(
    `two runs differ at operator ${op}${where()}: it counts, decides by its data, or draws other random numbers than uniform ones`,
  );
}

/** A recording without its numbers. */
class Lines {
  readonly #lines: string[] = [];
  readonly #names = new Map<number, string>();

  get last(): string | undefined {
    return this.#lines.at(-1);
  }

  name(id: number, name: string): void {
    this.#names.set(id, name);
  }

  begin(op: string, attributes: readonly Attribute[], inputs: readonly number[]): void {
    this.#lines.push(JSON.stringify([op, attributes, inputs.map((id) => this.#names.get(id))]));
  }

  end(outputs: readonly number[]): void {
    for (const [output, id] of outputs.entries())
      this.#names.set(id, `${this.#lines.length - 1}:${output}`);
  }

  withOutputs(outputs: readonly number[]): readonly string[] {
    return [...this.#lines, JSON.stringify(outputs.map((id) => this.#names.get(id)))];
  }
}
