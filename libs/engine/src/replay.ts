/** A recorded step as one TensorFlow function: one call instead of some hundred. */
import { createHash } from "node:crypto";
import type { Attribute, Binding, RecordedBackend } from "./binding.ts";
import { type ConstantValue, encodeGraph, type GraphNode } from "./graph-def.ts";
import { fingerprint, NotReplayable, type Recording, record, type StepOf } from "./record.ts";

export interface Replay {
  /** Of the graph: equal for equal steps. */
  readonly hash: string;
  /** What a run needs besides: uniform numbers seeded by draws of the step, after the inputs. */
  readonly randoms: Recording["randoms"];
  /** `inputs` in the order of recording; output i goes into view i. */
  run(inputs: readonly number[], into: readonly Float32Array[]): void;
}

/**
 * @param first and `second` are the same step on different data of the same shapes
 * @throws NotReplayable with the reason
 */
export function buildReplay(backend: RecordedBackend, first: StepOf, second: StepOf): Replay {
  const recording = record(backend, first);
  const again = record(backend, second);
  if (fingerprint(recording) !== fingerprint(again)) {
    throw new NotReplayable(
      "two runs differ: it counts, decides by its data, or draws other random numbers than uniform ones",
    );
  }
  return define(backend.binding, recording);
}

function define(binding: Binding, recording: Recording): Replay {
  const graph = new GraphBuilder(binding);
  const { randoms } = recording;
  const inputs = [...recording.inputs, ...randoms].map(({ id, shape }, index) =>
    graph.input(id, `input${index}`, shape),
  );
  const ops = neededOps(recording);
  for (const [index, { op, attributes, inputs: read, outputs }] of ops.entries()) {
    const sources = read.map((id) => graph.sourceOf(id, recording.constants));
    graph.add(`op${index}`, op, sources, attributes);
    for (const [output, id] of outputs.entries()) graph.name(id, `op${index}:${output}`);
  }
  const outputs = recording.outputs.map((id) => graph.sourceOf(id, recording.constants));
  const bytes = encodeGraph(graph.nodes);
  const hash = createHash("sha256").update(bytes).update(outputs.join()).digest("hex");
  const name = `step_${hash.slice(0, 32)}`;
  binding.defineFunction(name, bytes, inputs, outputs);
  // Everything on the calling thread: the worker has one core.
  const attributes = [
    { name: "executor_type", type: binding.TF_ATTR_STRING, value: "SINGLE_THREADED_EXECUTOR" },
  ];
  return { hash, randoms, run: (ids, into) => binding.runFunction(name, attributes, ids, into) };
}

/** The recorded operators that an output needs, in recorded order. */
function neededOps({ ops, outputs }: Recording): Recording["ops"] {
  const needed = new Set(outputs);
  return ops
    .toReversed()
    .filter((op) => {
      if (!op.outputs.some((id) => needed.has(id))) return false;
      for (const id of op.inputs) needed.add(id);
      return true;
    })
    .reverse();
}

class GraphBuilder {
  readonly nodes: GraphNode[] = [];
  readonly #binding: Binding;
  readonly #names = new Map<number, string>();
  /** Equal constants share a node. */
  readonly #constants = new Map<string, string>();

  constructor(binding: Binding) {
    this.#binding = binding;
  }

  add(
    name: string,
    op: string,
    inputs: readonly string[],
    attributes: readonly Attribute[],
  ): string {
    this.nodes.push({ name, op, inputs, attributes });
    return name;
  }

  name(id: number, source: string): void {
    this.#names.set(id, source);
  }

  input(id: number, name: string, shape: readonly number[]): string {
    const { TF_ATTR_TYPE, TF_ATTR_SHAPE, TF_FLOAT } = this.#binding;
    this.name(id, name);
    return this.add(
      name,
      "Placeholder",
      [],
      [
        { name: "dtype", type: TF_ATTR_TYPE, value: TF_FLOAT },
        { name: "shape", type: TF_ATTR_SHAPE, value: [...shape] },
      ],
    );
  }

  sourceOf(id: number, constants: ReadonlyMap<number, ConstantValue>): string {
    const known = this.#names.get(id);
    if (known !== undefined) return known;
    const value = constants.get(id);
    if (value === undefined) throw new NotReplayable("a tensor comes from nowhere");
    const key = `${value.dtype} [${value.shape}] ${createHash("sha256").update(value.bytes).digest("hex")}`;
    let name = this.#constants.get(key);
    if (name === undefined) {
      name = `constant${this.#constants.size}`;
      this.#constants.set(key, name);
      const attributes = [{ name: "dtype", type: this.#binding.TF_ATTR_TYPE, value: value.dtype }];
      this.nodes.push({ name, op: "Const", inputs: [], attributes, value });
    }
    this.name(id, name);
    return name;
  }
}
