/**
 * Records one step while it runs operator by operator. What the step makes on the way becomes a
 * constant; its inputs and the parameters become the inputs of a graph. The step is recorded twice,
 * with other data: both records must be equal, which catches randomness, counters, and control flow
 * that depends on data.
 */
import { createHash } from "node:crypto";
import type { Tensor } from "@coxswain/program";
import type { Attribute, Binding, RecordedBackend } from "./binding.ts";
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

/**
 * @param inputs tensors of float32 that the step reads: batch, then parameters
 * @param step makes the outputs; the caller disposes of them
 * @throws NotReplayable with the reason
 */
export function record(
  backend: RecordedBackend,
  inputs: readonly Tensor[],
  step: () => readonly Tensor[],
): Recording {
  const native = backend.binding;
  const idOf = (tensor: Tensor) => backend.getInputTensorIds([tensor])[0]!;
  const given = inputs.map((tensor) => ({ id: idOf(tensor), shape: tensor.shape }));
  const known = new Set(given.map(({ id }) => id));
  const ops: RecordedOp[] = [];
  const constants = new Map<number, ConstantValue>();
  let why: string | undefined;
  const recorder = Object.create(native) as Binding;
  recorder.createTensor = (shape, dtype, values) => {
    const id = native.createTensor(shape, dtype, values);
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength).slice();
    constants.set(id, { dtype, shape: [...shape], bytes });
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
    outputs = step().map(idOf);
  } finally {
    backend.binding = native;
  }
  if (why !== undefined) throw new NotReplayable(why);
  return { inputs: given, ops, constants, outputs };
}

/** The recording without its numbers: equal for equal steps, in every process. */
export function fingerprint(recording: Recording): string {
  const names = new Map<number, string>();
  for (const [index, { id, shape }] of recording.inputs.entries())
    names.set(id, `input ${index} [${shape}]`);
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
