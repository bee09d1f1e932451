/** A shard's batch, and where its results lie in the flat vector: no tensors here. */
import { AppError, type Place, shardSamples } from "@coxswain/domain";
import type { Batch, Dataset } from "@coxswain/program";
import { purposes } from "./deterministic.ts";
import type { CompileOptions, Layout } from "./port.ts";

export interface Shaped {
  readonly values: Float32Array;
  readonly shape: readonly number[];
}

export interface ShardPlace {
  readonly step: number;
  readonly shard: number;
}

/** Samples that are evaluated at once; few, so that their activations need little memory. */
const evaluationBatchMax = 100;

export class ShardPlan {
  readonly #data: Dataset;
  readonly #layout: Layout;
  readonly #options: CompileOptions;
  /** Samples of a shard. */
  readonly samples: number;
  readonly evaluationBatch: number;

  constructor(data: Dataset, layout: Layout, options: CompileOptions) {
    this.#data = data;
    this.#layout = layout;
    this.#options = options;
    this.samples = options.batchSize / options.shards;
    this.evaluationBatch = Math.min(evaluationBatchMax, data.test.samples);
  }

  batch({ step, shard }: ShardPlace): Batch {
    const { train } = this.#data;
    return train.batch(shardSamples({ ...this.#options, samples: train.samples, step, shard }));
  }

  /** Held-out samples `from <= i < to`, at most `evaluationBatch`; the last one again where they end. */
  evaluated(from: number, to: number): Batch {
    const indices = Array.from({ length: this.evaluationBatch }, (_, i) =>
      Math.min(from + i, to - 1),
    );
    return this.#data.test.batch(indices);
  }

  /** Whose random numbers a shard's step draws. */
  randomPlace({ step, shard }: ShardPlace): Place {
    return { seed: this.#options.seed, purpose: purposes.training, a: step, b: shard };
  }

  /** Inputs, then labels. */
  shaped(batch: Batch, samples: number): [Shaped, Shaped] {
    const { inputShape, labelShape } = this.#data;
    const shapes = { inputs: [samples, ...inputShape], labels: [samples, ...labelShape] };
    const shaped = (name: keyof typeof shapes): Shaped => {
      const [values, shape] = [batch[name], shapes[name]];
      const size = shape.reduce((product, length) => product * length, 1);
      if (values.length === size) return { values, shape };
      const sentence = `the program's data gave ${values.length} values as ${name} of ${samples} samples, whose shape would be [${shape.join(", ")}]: ${size}`;
      throw new AppError("program-threw", sentence);
    };
    return [shaped("inputs"), shaped("labels")];
  }

  /** The parameters in their vector, one by one. */
  parameters(vector: Float32Array): Shaped[] {
    return this.#layout.segments.map(({ offset, size, shape }) => ({
      values: vector.subarray(offset, offset + size),
      shape,
    }));
  }

  /** Zeros what `views` leave out. */
  clearGaps(out: Float32Array): void {
    const { segments, parameterFloats, metricNames } = this.#layout;
    for (const [index, { offset, size }] of segments.entries())
      out.fill(0, offset + size, segments[index + 1]?.offset ?? parameterFloats);
    out.fill(0, parameterFloats + metricNames.length);
  }

  /** Where loss, metrics and gradients of a step go in the vector, in this order. */
  views(out: Float32Array): Float32Array[] {
    const { parameterFloats, metricNames, segments } = this.#layout;
    const metrics = metricNames.map((_, index) =>
      out.subarray(parameterFloats + index, parameterFloats + index + 1),
    );
    return [...metrics, ...segments.map(({ offset, size }) => out.subarray(offset, offset + size))];
  }

  /**
   * Sums of loss and metrics over held-out samples `from <= i < to`, batch by batch.
   * @param score one value per sample and metric: [metrics][evaluationBatch]
   */
  evaluate(
    from: number,
    to: number,
    score: (batch: Batch) => readonly Float32Array[],
  ): Readonly<Record<string, number>> {
    const sums = this.#layout.metricNames.map(() => 0);
    for (let first = from; first < to; first += this.evaluationBatch) {
      const end = Math.min(to, first + this.evaluationBatch);
      for (const [metric, values] of score(this.evaluated(first, end)).entries())
        for (let i = 0; i < end - first; i += 1) sums[metric]! += values[i]!;
    }
    return Object.fromEntries(this.#layout.metricNames.map((name, i) => [name, sums[i]!]));
  }
}
