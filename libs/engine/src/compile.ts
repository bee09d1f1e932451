/**
 * Compiles a program for its shapes, on whichever TensorFlow.js back end is active: the eager path,
 * which every engine falls back to.
 */
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { AppError, shardSamples } from "@coxswain/domain";
import { type Batch, type Dataset, type Program, type Tensor, tf } from "@coxswain/program";
import { purposes, withDeterministicRandom } from "./deterministic.ts";
import { layoutOf } from "./layout.ts";
import { loadProgram, programError } from "./load-program.ts";
import { buildModel, type Model } from "./model.ts";
import type {
  CompiledProgram,
  CompileOptions,
  EngineIdentity,
  Layout,
  ShardInput,
} from "./port.ts";
import type { Recorder, ShapedBatch, ShardReplay } from "./shard-replay.ts";

const evaluationBatch = 500;

export async function compileProgram(
  identity: EngineIdentity,
  options: CompileOptions,
  recorder?: Recorder,
): Promise<CompiledProgram> {
  const [program, source] = await Promise.all([
    loadProgram(options.programPath),
    readFile(options.programPath),
  ]);
  const context = { parameters: options.parameters, seed: options.seed };
  try {
    const data = await program.data(options.data);
    const model = buildModel(program, context);
    const optimizer =
      typeof program.optimizer === "function" ? program.optimizer(context) : program.optimizer;
    const metricNames = ["loss", ...Object.keys(program.metrics ?? {})];
    const layout = layoutOf(model.weights, metricNames, optimizer.slotCount);
    const hash = hashOf(identity, options, source, layout, optimizer.identity);
    return new TfjsProgram({
      recorder,
      program,
      data,
      model,
      layout,
      hash,
      options,
      update: optimizer.update,
    });
  } catch (cause) {
    throw programError("compiling the program", cause);
  }
}

function hashOf(
  identity: EngineIdentity,
  options: CompileOptions,
  source: Uint8Array,
  layout: Layout,
  optimizer: string,
): string {
  // Named one by one: what else the caller's record holds, such as limits of workers, may change.
  const { data, batchSize, shards, seed, parameters } = options;
  const facts = {
    engine: identity.text,
    data,
    batchSize,
    shards,
    seed,
    parameters,
    layout,
    optimizer,
  };
  return createHash("sha256").update(source).update(JSON.stringify(facts)).digest("hex");
}

interface BatchTensors {
  readonly inputs: Tensor;
  readonly labels: Tensor;
}

interface Parts {
  /** Makes a step one call, where the engine can. */
  readonly recorder: Recorder | undefined;
  readonly program: Program;
  readonly data: Dataset;
  readonly model: Model;
  readonly layout: Layout;
  readonly hash: string;
  readonly options: CompileOptions;
  readonly update: CompiledProgram["update"];
}

class TfjsProgram implements CompiledProgram {
  readonly hash: string;
  readonly layout: Layout;
  readonly samplesTrain: number;
  readonly samplesTest: number;
  readonly modelTopology: CompiledProgram["modelTopology"];
  readonly update: CompiledProgram["update"];
  readonly #parts: Parts;
  /** The step whose parameters the model's variables hold: those of one step never change. */
  #loadedStep = -1;
  #replay: ShardReplay | "none" | undefined;

  constructor(parts: Parts) {
    if (parts.options.batchSize % parts.options.shards !== 0) {
      throw new AppError("invalid-spec", "batchSize is not a multiple of shards");
    }
    this.#parts = parts;
    this.hash = parts.hash;
    this.layout = parts.layout;
    this.samplesTrain = parts.data.train.samples;
    this.samplesTest = parts.data.test.samples;
    this.modelTopology = parts.model.topology;
    this.update = parts.update;
  }

  initialize(parameters: Float32Array): void {
    parameters.fill(0, 0, this.layout.parameterFloats);
    for (const [index, { offset }] of this.layout.segments.entries())
      parameters.set(this.#parts.model.initial(index), offset);
  }

  gradient(input: ShardInput, out: Float32Array): void {
    const { data, options } = this.#parts;
    const indices = shardSamples({
      ...options,
      samples: this.samplesTrain,
      step: input.step,
      shard: input.shard,
    });
    const place = { seed: options.seed, purpose: purposes.training, a: input.step, b: input.shard };
    try {
      if (this.#loadedStep !== input.step) this.#load(input.parameters);
      this.#loadedStep = input.step;
      withDeterministicRandom(place, () =>
        tf.tidy(() => this.#derive(input, data.train.batch(indices), indices.length, out)),
      );
    } catch (cause) {
      throw programError(`step ${input.step}, shard ${input.shard}`, cause);
    }
  }

  #load(parameters: Float32Array): void {
    for (const [index, { offset, size }] of this.layout.segments.entries()) {
      this.#parts.model.assign(index, parameters.subarray(offset, offset + size));
    }
  }

  /** Loss, metric sums and gradients of one batch, each divided by the global batch. */
  #step({ inputs, labels }: BatchTensors): Tensor[] {
    const { model, options, program } = this.#parts;
    const share = 1 / options.batchSize;
    let outputs: Tensor | undefined;
    const { value, grads } = tf.variableGrads(() => {
      outputs = tf.keep(model.outputs(inputs, true));
      return tf.mul(tf.sum(program.loss(labels, outputs)), share) as never;
    }, [...model.variables]);
    const metrics = Object.values(program.metrics ?? {}).map((metric) =>
      tf.mul(tf.sum(metric(labels, outputs!)), share),
    );
    outputs?.dispose();
    const gradients = model.variables.map(
      (variable) => grads[variable.name] ?? tf.zerosLike(variable),
    );
    return [value, ...metrics, ...gradients];
  }

  /** Where the tensors of `#step` go in the vector, in the same order. */
  #views(out: Float32Array): Float32Array[] {
    const { parameterFloats, metricNames, segments } = this.layout;
    const metrics = metricNames.map((_, index) =>
      out.subarray(parameterFloats + index, parameterFloats + index + 1),
    );
    return [...metrics, ...segments.map(({ offset, size }) => out.subarray(offset, offset + size))];
  }

  #derive(input: ShardInput, batch: Batch, samples: number, out: Float32Array): void {
    out.fill(0);
    const views = this.#views(out);
    if (this.#replay === undefined) this.#replay = this.#tryReplay(input, batch, samples);
    if (this.#replay !== "none") return this.#replay.run(this.#shaped(batch, samples), views);
    const tensors = this.#step(this.#tensors(batch, samples));
    for (const [index, tensor] of tensors.entries())
      views[index]!.set(tensor.dataSync() as Float32Array);
  }

  /** Records the step on this shard's batch and on another's. */
  #tryReplay(input: ShardInput, batch: Batch, samples: number): ShardReplay | "none" {
    const { recorder, model, data, options } = this.#parts;
    if (recorder === undefined) return "none";
    const other = {
      ...options,
      samples: this.samplesTrain,
      step: input.step + 1,
      shard: input.shard,
    };
    const stepOf = (given: Batch) => {
      const tensors = this.#tensors(given, samples);
      return {
        inputs: [tensors.inputs, tensors.labels, ...model.variables],
        step: () => this.#step(tensors),
      };
    };
    return recorder(stepOf(batch), stepOf(data.train.batch(shardSamples(other))), model.variables);
  }

  #shaped(batch: Batch, samples: number): ShapedBatch {
    const { inputShape, labelShape } = this.#parts.data;
    return [
      { values: batch.inputs, shape: [samples, ...inputShape] },
      { values: batch.labels, shape: [samples, ...labelShape] },
    ];
  }

  #tensors(batch: Batch, samples: number): BatchTensors {
    const { inputShape, labelShape } = this.#parts.data;
    return {
      inputs: tf.tensor(batch.inputs, [samples, ...inputShape], "float32"),
      labels: tf.tensor(batch.labels, [samples, ...labelShape], "float32"),
    };
  }

  evaluate(parameters: Float32Array, from: number, to: number): Readonly<Record<string, number>> {
    this.#load(parameters);
    this.#loadedStep = -1;
    const sums: Record<string, number> = {};
    try {
      for (let first = from; first < to; first += evaluationBatch) {
        const end = Math.min(to, first + evaluationBatch);
        withDeterministicRandom(
          { seed: this.#parts.options.seed, purpose: purposes.evaluation },
          () => tf.tidy(() => this.#score(first, end, sums)),
        );
      }
    } catch (cause) {
      throw programError("evaluation", cause);
    }
    return sums;
  }

  #score(from: number, to: number, sums: Record<string, number>): void {
    const { data, model, program } = this.#parts;
    const indices = Array.from({ length: to - from }, (_, i) => from + i);
    const { inputs, labels } = this.#tensors(data.test.batch(indices), indices.length);
    const outputs = model.outputs(inputs, false);
    for (const [name, perSample] of Object.entries({ loss: program.loss, ...program.metrics })) {
      sums[name] = (sums[name] ?? 0) + tf.sum(perSample(labels, outputs)).dataSync()[0]!;
    }
  }

  dispose(): void {
    this.#parts.model.dispose();
  }
}
