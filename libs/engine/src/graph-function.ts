/**
 * A recorded computation as one TensorFlow function: data with a hash, and one call instead of some
 * hundred to run it.
 */
import { createHash } from "node:crypto";
import { assert, type Place } from "@coxswain/domain";
import type { Attribute, Binding } from "./binding.ts";
import { drawAt, fillUniformOf } from "./deterministic.ts";
import { type ConstantValue, encodeGraph, type GraphNode } from "./graph-def.ts";
import { factorsOf } from "./products.ts";
import { NotReplayable, type RecordedGraph, type Recording } from "./record.ts";
import { addShardAxis } from "./shard-axis.ts";
import { functionConfig, gpuDevice, seesGpu } from "./tensorflow-config.ts";

export interface GraphFunction {
  /** Bytes of a GraphDef. */
  readonly graph: Uint8Array;
  /** Placeholders, in order: what is given, then the random numbers. */
  readonly inputs: readonly string[];
  /** "node", "node:k", or "node:k * node:k": a product, the first factor transposed */
  readonly outputs: readonly string[];
  /** Uniform numbers in [0, 1) that a run needs, each by its draw of the run. */
  readonly randoms: readonly { readonly draw: number; readonly shape: readonly number[] }[];
  /** Its first axis of batch, random numbers and results are shards, any number of them: `shard-axis.ts`. */
  readonly hasShardAxis?: true;
}

/** SHA-256: equal functions have equal hashes, in every process. */
export function functionHash(made: GraphFunction): string {
  const { graph, inputs, outputs, randoms, hasShardAxis } = made;
  const facts = JSON.stringify([inputs, outputs, randoms, hasShardAxis]);
  return createHash("sha256").update(graph).update(facts).digest("hex");
}

export function functionOf(binding: Binding, recording: Recording): GraphFunction {
  return build(binding, recording, resultsOf(binding, recording));
}

/**
 * The same, but for any number of shards at once.
 * @param batchInputs so many of the first inputs belong to a shard
 * @returns undefined when an operator is in the way
 */
export function functionOfShards(
  binding: Binding,
  recording: Recording,
  batchInputs: number,
): GraphFunction | undefined {
  const results = resultsOf(binding, recording);
  const ops = neededOps(recording, results.flat());
  const withAxis = addShardAxis(binding, { ...recording, ops }, batchInputs);
  if (withAxis === undefined) return undefined;
  const ids = results.map((each) => each.map(withAxis.idOf));
  const { randoms } = recording; // As one shard draws them.
  return { ...build(binding, withAxis, ids), randoms: randoms.map(drawn), hasShardAxis: true };
}

/** Ids of each output, or of the two factors that it is the product of. */
function resultsOf(binding: Binding, recording: Recording): (readonly number[])[] {
  // On a GPU the product is better computed where its factors are.
  const hasGpu = seesGpu(binding.devices());
  return recording.outputs.map((id) => (!hasGpu && factorsOf(binding, recording, id)) || [id]);
}

const drawn = ({ draw, shape }: Recording["randoms"][number]) => ({ draw, shape });

function build(
  binding: Binding,
  recording: RecordedGraph,
  results: readonly (readonly number[])[],
): GraphFunction {
  const graph = new GraphBuilder(binding);
  const inputs = [...recording.inputs, ...recording.randoms].map(({ id, shape }, index) =>
    graph.input(id, `input${index}`, shape),
  );
  const needed = neededOps(recording, results.flat());
  for (const [index, { op, attributes, inputs: read, outputs }] of needed.entries()) {
    const sources = read.map((id) => graph.sourceOf(id, recording.constants));
    graph.add(`op${index}`, op, sources, attributes);
    for (const [output, id] of outputs.entries()) graph.name(id, `op${index}:${output}`);
  }
  const outputs = results.map((ids) =>
    ids.map((id) => graph.resultOf(id, recording.constants)).join(" * "),
  );
  return {
    graph: encodeGraph(graph.nodes),
    inputs,
    outputs,
    randoms: recording.randoms.map(drawn),
  };
}

/** What XLA took, in seconds, for the functions that this thread was the first to run; by name. */
const xlaSeconds = new Map<string, number>();

/** A function made known to TensorFlow. */
export class FunctionRun {
  readonly #binding: Binding;
  readonly #name: string;
  readonly #randoms: GraphFunction["randoms"];
  readonly hasShardAxis: boolean;
  #isToBeCompiled: boolean;

  /** @param isXla XLA compiles it, at the first run */
  constructor(binding: Binding, made: GraphFunction, isXla = false) {
    this.#binding = binding;
    this.#name = `${isXla ? "xla" : "step"}_${functionHash(made).slice(0, 32)}`;
    this.#randoms = made.randoms;
    this.hasShardAxis = made.hasShardAxis ?? false;
    const hasGpu = seesGpu(binding.devices());
    const { graph, inputs, outputs } = made;
    const [config, device] = [functionConfig(hasGpu), hasGpu ? gpuDevice : ""];
    const isNew = binding.defineFunction(
      ...[this.#name, graph, inputs, outputs, config, device, isXla],
    );
    this.#isToBeCompiled = isXla && isNew;
  }

  /** 0 where another thread of this process had it compiled, or it was not run yet. */
  get xlaSeconds(): number {
    return xlaSeconds.get(this.#name) ?? 0;
  }

  /**
   * @param inputs ids of tensors, in the order of recording
   * @param place whose random numbers it draws
   * @param into output i goes into view i
   * @throws Error in XLA's words when it cannot compile the function
   */
  run(inputs: readonly number[], place: Place, into: readonly Float32Array[]): void {
    this.sum([this.start(inputs, [place])], into);
  }

  /**
   * Gives the number of the run; the caller adds it up, or drops it.
   * @param places of each shard; a single one where the function has no axis of them
   */
  start(inputs: readonly number[], places: readonly Place[]): number {
    assert(this.hasShardAxis || places.length === 1, "a function of one shard runs one");
    const randoms = this.#randoms.map(({ draw, shape }) => this.#random(draw, shape, places));
    const startedMs = performance.now();
    try {
      const run = this.#binding.runFunction(this.#name, [...inputs, ...randoms], places.length);
      if (this.#isToBeCompiled) xlaSeconds.set(this.#name, (performance.now() - startedMs) / 1000);
      this.#isToBeCompiled = false;
      return run;
    } finally {
      for (const id of randoms) this.#binding.deleteTensor(id);
    }
  }

  #random(draw: number, shape: readonly number[], places: readonly Place[]): number {
    const size = shape.reduce((product, length) => product * length, 1);
    const values = new Float32Array(places.length * size);
    for (const [i, place] of places.entries())
      fillUniformOf(drawAt(place, draw), values.subarray(i * size, (i + 1) * size));
    const whole = this.hasShardAxis ? [places.length, ...shape] : shape;
    return this.#binding.createTensor(whole, this.#binding.TF_FLOAT, values);
  }

  /**
   * The outputs of runs, of a power of two of shards in all, added up in the canonical tree; the runs
   * are gone.
   */
  sum(runs: readonly number[], into: readonly Float32Array[]): void {
    this.#binding.sumRuns(runs, into);
  }
}

/** The recorded operators that these tensors need, in recorded order. */
export function neededOps(
  { ops }: Pick<Recording, "ops">,
  tensors: readonly number[],
): Recording["ops"] {
  const needed = new Set(tensors);
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

  /** As `sourceOf`; TensorFlow gives nobody back what it was given. */
  resultOf(id: number, constants: ReadonlyMap<number, ConstantValue>): string {
    const source = this.sourceOf(id, constants);
    if (this.nodes.find(({ name }) => name === source)?.op !== "Placeholder") return source;
    const { TF_ATTR_TYPE, TF_FLOAT } = this.#binding;
    const name = `result${this.nodes.length}`;
    const type = { name: "T", type: TF_ATTR_TYPE, value: TF_FLOAT };
    return this.add(name, "Identity", [source], [type]);
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
