/** What a program computes, on TensorFlow.js: a batch to loss, metrics and gradients; and its scores. */
import type { Place } from "@coxswain/domain";
import { type Batch, type Program, type Tensor, tf } from "@coxswain/program";
import { purposes, withDeterministicRandom } from "./deterministic.ts";
import type { GraphFunction } from "./graph-function.ts";
import type { Model } from "./model.ts";
import type { CompileOptions } from "./port.ts";
import type { Recordable } from "./record.ts";
import type { RecordFunction } from "./record-function.ts";
import type { ShardPlace, ShardPlan } from "./shard-plan.ts";

export interface StepParts {
  readonly program: Program;
  readonly model: Model;
  readonly plan: ShardPlan;
  readonly options: CompileOptions;
}

/** Inputs and labels: they are a step's first inputs. */
const batchTensors = 2;

interface BatchTensors {
  readonly inputs: Tensor;
  readonly labels: Tensor;
}

export interface RecordedFunctions {
  readonly step: GraphFunction;
  readonly evaluation: GraphFunction;
}

export class Step {
  readonly #parts: StepParts;

  constructor(parts: StepParts) {
    this.#parts = parts;
  }

  /** Runs `work` with the random numbers of this step and shard, and keeps no tensor of it. */
  within(place: ShardPlace, work: () => void): void {
    withDeterministicRandom(this.#parts.plan.randomPlace(place), () => void tf.tidy(work));
  }

  tensors(batch: Batch, samples: number): BatchTensors {
    const [inputs, labels] = this.#parts.plan
      .shaped(batch, samples)
      .map(({ values, shape }) => tf.tensor(values, [...shape], "float32"));
    return { inputs: inputs!, labels: labels! };
  }

  /**
   * Loss, metric sums and gradients of one batch, each divided by the global batch; then the state's
   * next values, each divided by the number of shards. The state itself stays.
   */
  run({ inputs, labels }: BatchTensors): Tensor[] {
    const { model, options } = this.#parts;
    const state = model.variables.slice(model.trainedCount);
    const before = state.map((variable) => tf.clone(variable as Tensor));
    try {
      return [
        ...this.#derived({ inputs, labels }),
        ...state.map((v) => tf.mul(v as Tensor, 1 / options.shards)),
      ];
    } finally {
      for (const [index, variable] of state.entries()) variable.assign(before[index]!);
    }
  }

  /** Loss, metrics and gradients. */
  #derived({ inputs, labels }: BatchTensors): Tensor[] {
    const { model, options, program } = this.#parts;
    const share = 1 / options.batchSize;
    const trained = model.variables.slice(0, model.trainedCount);
    let outputs: Tensor | undefined;
    const { value, grads } = tf.variableGrads(() => {
      outputs = tf.keep(model.outputs(inputs, true));
      return tf.mul(tf.sum(program.loss(labels, outputs)), share) as never;
    }, trained);
    const metrics = Object.values(program.metrics ?? {}).map((metric) =>
      tf.mul(tf.sum(metric(labels, outputs!)), share),
    );
    outputs?.dispose();
    const gradients = trained.map((variable) => grads[variable.name] ?? tf.zerosLike(variable));
    return [value, ...metrics, ...gradients];
  }

  /** Loss and metrics of held-out samples, a value for each. */
  scores({ inputs, labels }: BatchTensors): Tensor[] {
    const { model, program } = this.#parts;
    const outputs = model.outputs(inputs, false);
    return [program.loss, ...Object.values(program.metrics ?? {})].map((perSample) =>
      tf.cast(perSample(labels, outputs), "float32"),
    );
  }

  /**
   * Records on the data of the first two steps, and of the first and last held-out samples, with the
   * parameters that the model holds: the same in every worker, so that all replay the same.
   * @throws NotReplayable
   */
  record(recorder: RecordFunction): RecordedFunctions {
    const { plan, options } = this.#parts;
    options.onRecording?.();
    const stepAt = (step: number) => {
      const place = { step, shard: 0 };
      const tensors = this.tensors(plan.batch(place), plan.samples);
      return this.#recordable(tensors, plan.randomPlace(place), () => this.run(tensors));
    };
    const scoresAt = (first: number, last: number) => {
      const tensors = this.tensors(plan.evaluated(first, last), plan.evaluationBatch);
      return this.#recordable(tensors, this.evaluationPlace, () => this.scores(tensors));
    };
    const held = plan.evaluationBatch;
    let functions: RecordedFunctions | undefined;
    tf.tidy(() => {
      const shardInputs = options.shards > 1 ? batchTensors : 0;
      const step = recorder(stepAt(0), stepAt(1), shardInputs);
      const evaluation = recorder(scoresAt(0, held), scoresAt(held - 1, held));
      functions = { step, evaluation };
    });
    return functions!;
  }

  get evaluationPlace(): Place {
    return { seed: this.#parts.options.seed, purpose: purposes.evaluation };
  }

  #recordable({ inputs, labels }: BatchTensors, place: Place, run: () => Tensor[]): Recordable {
    return { inputs: [inputs, labels, ...this.#parts.model.variables], place, run };
  }
}
