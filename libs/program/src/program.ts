/**
 * What a program is: data, model, loss, optimizer, metrics. It says nothing of workers, shards or
 * failures; the platform brings those.
 */
import type { Dataset, StreamedDataset } from "./dataset.ts";
import type { Optimizer } from "./optimizer.ts";
import type { LayersModel, Tensor } from "./tf.ts";

/** Gives a value per sample, shape [samples]: the platform adds and divides. */
export type PerSample = (labels: Tensor, outputs: Tensor) => Tensor;

/** Values of `spec.parameters`, such as learning rates. */
export type ProgramParameters = Readonly<Record<string, number | string | boolean>>;

export interface ProgramContext {
  readonly parameters: ProgramParameters;
  readonly seed: number;
  /** Steps of the whole job: what a learning rate that falls to its end needs. */
  readonly steps: number;
}

/** Fresh weights of a function model, deterministic in the job's seed and the order of the calls. */
export interface Initializers {
  zeros(shape: readonly number[]): Weights;
  ones(shape: readonly number[]): Weights;
  /** Uniform in +-sqrt(6 / (fanIn + fanOut)) (Glorot and Bengio, AISTATS 2010). */
  glorotUniform(shape: readonly number[]): Weights;
  /** Normal with variance 2 / fanIn (He et al., ICCV 2015). */
  heNormal(shape: readonly number[]): Weights;
}

export interface Weights {
  readonly shape: readonly number[];
  readonly values: Float32Array;
}

/** What a function model may ask for besides its input. */
export interface ForwardContext {
  readonly isTraining: boolean;
  /** Zeroes a part of x and scales the rest; the mask is a function of (seed, step, shard, call). */
  dropout(x: Tensor, rate: number): Tensor;
  /**
   * In training, what the state of this name shall be after the step, says this shard; it becomes the
   * mean of what all shards say. Otherwise nothing.
   */
  setState(name: string, value: Tensor): void;
}

/** A model as named weights and a function of them. */
export interface FunctionModel {
  readonly weights: (init: Initializers) => Readonly<Record<string, Weights>>;
  /** State that no gradient moves, such as moving averages; `forward` finds it among the weights. */
  readonly state?: (init: Initializers) => Readonly<Record<string, Weights>>;
  /** inputs shape [samples, ...]; returns outputs, shape [samples, ...]. */
  readonly forward: (
    weights: Readonly<Record<string, Tensor>>,
    inputs: Tensor,
    context: ForwardContext,
  ) => Tensor;
}

export interface Program {
  /** Opens the data that `spec.data` names. */
  readonly data: (source: string) => Promise<Dataset | StreamedDataset>;
  /** A tf.layers model, or named weights and a function. */
  readonly model: (context: ProgramContext) => LayersModel | FunctionModel;
  readonly loss: PerSample;
  readonly optimizer: Optimizer | ((context: ProgramContext) => Optimizer);
  readonly metrics?: Readonly<Record<string, PerSample>>;
}

const mark = Symbol.for("coxswain.program.v1");

/** Marks and checks a program; export the result as the module's default. */
export function defineProgram(program: Program): Program {
  return Object.freeze({ ...program, [mark]: true });
}

/** True for what `defineProgram` returned, also from another copy of this package. */
export function isProgram(value: unknown): value is Program {
  return (
    typeof value === "object" && value !== null && (value as Record<symbol, unknown>)[mark] === true
  );
}
