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

const evaluationBatch = 500;

export async function compileProgram(
  identity: EngineIdentity,
  options: CompileOptions,
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

interface Parts {
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
        tf.tidy(() => this.#derive(data.train.batch(indices), indices.length, out)),
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

  #derive(batch: Batch, samples: number, out: Float32Array): void {
    const { model, options, layout } = this.#parts;
    const { inputs, labels } = this.#tensors(batch, samples);
    const share = 1 / options.batchSize;
    let outputs: Tensor | undefined;
    const { value, grads } = tf.variableGrads(() => {
      outputs = tf.keep(model.outputs(inputs, true));
      return tf.mul(tf.sum(this.#parts.program.loss(labels, outputs)), share) as never;
    }, [...model.variables]);
    out.fill(0);
    for (const [index, { offset }] of layout.segments.entries()) {
      const gradient = grads[model.variables[index]!.name];
      if (gradient !== undefined) out.set(gradient.dataSync() as Float32Array, offset);
    }
    out[layout.parameterFloats] = value.dataSync()[0]!;
    for (const [index, metric] of Object.values(this.#parts.program.metrics ?? {}).entries()) {
      const sum = tf.sum(metric(labels, outputs!)).dataSync()[0]!;
      out[layout.parameterFloats + 1 + index] = sum * share;
    }
    outputs?.dispose();
  }

  #tensors(batch: Batch, samples: number): { readonly inputs: Tensor; readonly labels: Tensor } {
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
