/** One shard's step of a program on TensorFlow.js: a batch to loss, metrics and gradients. */
import { type Place, shardSamples } from "@coxswain/domain";
import { type Batch, type Dataset, type Program, type Tensor, tf } from "@coxswain/program";
import { purposes, withDeterministicRandom } from "./deterministic.ts";
import type { Model } from "./model.ts";
import type { CompileOptions, Layout } from "./port.ts";
import type { Recorder, Shaped, ShapedBatch, ShardReplay } from "./shard-replay.ts";

export interface StepParts {
  readonly program: Program;
  readonly data: Dataset;
  readonly model: Model;
  readonly layout: Layout;
  readonly options: CompileOptions;
}

export interface BatchTensors {
  readonly inputs: Tensor;
  readonly labels: Tensor;
}

export interface ShardPlace {
  readonly step: number;
  readonly shard: number;
}

export class Step {
  readonly #parts: StepParts;
  readonly #samples: number;

  constructor(parts: StepParts) {
    this.#parts = parts;
    this.#samples = parts.options.batchSize / parts.options.shards;
  }

  batch({ step, shard }: ShardPlace): Batch {
    const { data, options } = this.#parts;
    return data.train.batch(shardSamples({ ...options, samples: data.train.samples, step, shard }));
  }

  /** Whose random numbers a shard's step draws. */
  randomPlace({ step, shard }: ShardPlace): Place {
    const { seed } = this.#parts.options;
    return { seed, purpose: purposes.training, a: step, b: shard };
  }

  /** Runs `work` with the random numbers of this step and shard, and keeps no tensor of it. */
  within(place: ShardPlace, work: () => void): void {
    withDeterministicRandom(this.randomPlace(place), () => void tf.tidy(work));
  }

  tensors(batch: Batch, samples = this.#samples): BatchTensors {
    const { inputShape, labelShape } = this.#parts.data;
    return {
      inputs: tf.tensor(batch.inputs, [samples, ...inputShape], "float32"),
      labels: tf.tensor(batch.labels, [samples, ...labelShape], "float32"),
    };
  }

  /** What `tensors` takes, for an engine that makes tensors itself. */
  shaped(batch: Batch): ShapedBatch {
    const { inputShape, labelShape } = this.#parts.data;
    return [
      { values: batch.inputs, shape: [this.#samples, ...inputShape] },
      { values: batch.labels, shape: [this.#samples, ...labelShape] },
    ];
  }

  /** Loss, metric sums and gradients of one batch, each divided by the global batch. */
  run({ inputs, labels }: BatchTensors): Tensor[] {
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

  /** The parameters in their vector, one by one. */
  parameters(vector: Float32Array): Shaped[] {
    return this.#parts.layout.segments.map(({ offset, size, shape }) => ({
      values: vector.subarray(offset, offset + size),
      shape,
    }));
  }

  /** Zeros what `views` leave out. */
  clearGaps(out: Float32Array): void {
    const { segments, parameterFloats, metricNames } = this.#parts.layout;
    for (const [index, { offset, size }] of segments.entries())
      out.fill(0, offset + size, segments[index + 1]?.offset ?? parameterFloats);
    out.fill(0, parameterFloats + metricNames.length);
  }

  /** Where the tensors of `run` go in the vector, in the same order. */
  views(out: Float32Array): Float32Array[] {
    const { parameterFloats, metricNames, segments } = this.#parts.layout;
    const metrics = metricNames.map((_, index) =>
      out.subarray(parameterFloats + index, parameterFloats + index + 1),
    );
    return [...metrics, ...segments.map(({ offset, size }) => out.subarray(offset, offset + size))];
  }

  /**
   * Records the step on the data of the first two steps, with the parameters that the model holds:
   * the same in every worker, so that all of them replay, or none does.
   */
  record(recorder: Recorder): ShardReplay | undefined {
    const { variables } = this.#parts.model;
    this.#parts.options.onRecording?.();
    const stepAt = (step: number) => {
      const place = { step, shard: 0 };
      const tensors = this.tensors(this.batch(place));
      const inputs = [tensors.inputs, tensors.labels, ...variables];
      return { inputs, place: this.randomPlace(place), step: () => this.run(tensors) };
    };
    let replay: ShardReplay | undefined;
    tf.tidy(() => {
      replay = recorder(stepAt(0), stepAt(1));
    });
    return replay;
  }
}
