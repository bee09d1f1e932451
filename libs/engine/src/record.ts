/**
 * Records one step while it runs operator by operator. What the step makes on the way becomes a
 * constant; its inputs, the parameters, and uniform random tensors become the inputs of a graph. The
 * step is recorded twice, with other data and other random numbers: both records must be equal, which
 * catches counters, other randomness, and control flow that depends on data.
 */
import { createHash } from "node:crypto";
import type { Place } from "@coxswain/domain";
import type { Tensor } from "@coxswain/program";
import type { Attribute, Binding, RecordedBackend } from "./binding.ts";
import { isUniformOf, withDeterministicRandom } from "./deterministic.ts";
import { type ConstantValue, isStateful } from "./graph-def.ts";

export interface RecordedOp {
  readonly op: string;
  readonly attributes: readonly Attribute[];
  readonly inputs: readonly number[];
  readonly outputs: readonly number[];
}

export interface Recording {
  /** Ids of what is given anew for each run: batch, then parameters. */
  readonly inputs: readonly { readonly id: number; readonly shape: readonly number[] }[];
  /** Uniform numbers in [0, 1) whose seed is the given draw of the step. */
  readonly randoms: readonly {
    readonly id: number;
    readonly draw: number;
    readonly shape: readonly number[];
  }[];
  readonly ops: readonly RecordedOp[];
  readonly constants: ReadonlyMap<number, ConstantValue>;
  readonly outputs: readonly number[];
}

/** Why a step cannot be replayed; it runs operator by operator then. */
export class NotReplayable extends Error {}

const statefulOps = new Map<string, boolean>();

function isStatefulOp(binding: Binding, op: string): boolean {
  let known = statefulOps.get(op);
  if (known === undefined) {
    known = isStateful(binding.opDef(op));
    statefulOps.set(op, known);
  }
  return known;
}

export interface StepOf {
  /** Float32 tensors that the step reads: batch, then parameters. */
  readonly inputs: readonly Tensor[];
  /** Makes the outputs; the caller disposes of them. */
  readonly step: () => readonly Tensor[];
  /** Whose random numbers it draws. */
  readonly place: Place;
}

/** @throws NotReplayable with the reason */
export function record(backend: RecordedBackend, { inputs, step, place }: StepOf): Recording {
  const native = backend.binding;
  const idOf = (tensor: Tensor) => backend.getInputTensorIds([tensor])[0]!;
  const given = inputs.map((tensor) => ({ id: idOf(tensor), shape: tensor.shape }));
  const known = new Set(given.map(({ id }) => id));
  const ops: RecordedOp[] = [];
  const constants = new Map<number, ConstantValue>();
  const draws: number[] = [];
  const randoms: { id: number; draw: number; shape: number[] }[] = [];
  let why: string | undefined;
  const recorder = Object.create(native) as Binding;
  recorder.createTensor = (shape, dtype, values) => {
    const id = native.createTensor(shape, dtype, values);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
    const draw = drawOf(values, draws);
    if (draw === undefined) constants.set(id, { dtype, shape: [...shape], bytes });
    else randoms.push({ id, draw, shape: [...shape] });
    known.add(id);
    return id;
  };
  recorder.tensorDataSync = (id) => {
    why ??= "it reads values back while it runs";
    return native.tensorDataSync(id);
  };
  recorder.executeOp = (op, attributes, ids, count) => {
    if (isStatefulOp(native, op)) why ??= `operator ${op} keeps state`;
    if (!ids.every((id) => known.has(id)))
      why ??= `operator ${op} reads a tensor from outside the step`;
    const made = native.executeOp(op, attributes, ids, count);
    ops.push({
      op,
      attributes: attributes.map((attribute) => ({ ...attribute })),
      inputs: [...ids],
      outputs: made.map(({ id }) => id),
    });
    for (const { id } of made) known.add(id);
    return made;
  };
  backend.binding = recorder;
  let outputs: readonly number[];
  try {
    outputs = withDeterministicRandom(place, step, (draw) => draws.push(draw)).map(idOf);
  } finally {
    backend.binding = native;
  }
  if (why !== undefined) throw new NotReplayable(why);
  return { inputs: given, randoms, ops, constants, outputs };
}

/** Which draw seeded these values, when they are the uniform numbers of one. */
function drawOf(values: ArrayBufferView, draws: readonly number[]): number | undefined {
  if (!(values instanceof Float32Array) || values.length === 0) return undefined;
  const index = draws.findIndex((draw) => isUniformOf(draw, values));
  return index < 0 ? undefined : index;
}

/** The recording without its numbers: equal for equal steps, in every process. */
export function fingerprint(recording: Recording): string {
  const names = new Map<number, string>();
  for (const [index, { id, shape }] of recording.inputs.entries())
    names.set(id, `input ${index} [${shape}]`);
  for (const { id, draw, shape } of recording.randoms) names.set(id, `random ${draw} [${shape}]`);
  for (const [id, { dtype, shape, bytes }] of recording.constants) {
    if (!names.has(id))
      names.set(
        id,
        `constant ${dtype} [${shape}] ${createHash("sha256").update(bytes).digest("hex")}`,
      );
  }
  const hash = createHash("sha256");
  for (const [index, { op, attributes, inputs, outputs }] of recording.ops.entries()) {
    hash.update(JSON.stringify([op, attributes, inputs.map((id) => names.get(id))]));
    for (const [output, id] of outputs.entries()) names.set(id, `${index}:${output}`);
  }
  return hash.update(JSON.stringify(recording.outputs.map((id) => names.get(id)))).digest("hex");
}
