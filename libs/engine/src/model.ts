/** The two ways to write a model, as one: named weights, and outputs from inputs. */
import { AppError, fillNormal, fillUniform } from "@coxswain/domain";
import {
  type FunctionModel,
  type Initializers,
  type LayersModel,
  type Program,
  type ProgramContext,
  type Tensor,
  tf,
  type Weights,
} from "@coxswain/program";
import { purposes, withDeterministicRandom } from "./deterministic.ts";
import type { Segment } from "./port.ts";

export interface Model {
  /** The trained ones, then state that is not trained. */
  readonly weights: readonly Pick<Segment, "name" | "shape" | "trained">[];
  /** Fresh values of weight `index`, the same each time. */
  initial(index: number): Float32Array;
  /** Copies `values` into weight `index`. */
  assign(index: number, values: Float32Array): void;
  outputs(inputs: Tensor, isTraining: boolean): Tensor;
  /** In the order of `weights`. `outputs` in training gives the state new values. */
  readonly variables: readonly Variable[];
  /** So many of them are trained. */
  readonly trainedCount: number;
  readonly topology: Readonly<Record<string, unknown>> | undefined;
  dispose(): void;
}

type Variable = ReturnType<typeof tf.variable>;

export function buildModel(program: Program, context: ProgramContext): Model {
  const place = { seed: context.seed, purpose: purposes.initialization };
  const made = withDeterministicRandom(place, () => program.model(context));
  return "forward" in made ? functionModel(made, context.seed) : layersModel(made as LayersModel);
}

function layersModel(model: LayersModel): Model {
  const trainedCount = model.trainableWeights.length;
  const layerWeights = [...model.trainableWeights, ...model.nonTrainableWeights];
  // The layers API keeps its variables to itself; deriving needs the variables.
  const variables = layerWeights.map((weight) => (weight as unknown as { val: Variable }).val);
  const initial = variables.map((variable) => variable.dataSync().slice() as Float32Array);
  return {
    weights: layerWeights.map((weight, index) => ({
      name: weight.originalName,
      shape: variables[index]!.shape,
      ...stateFrom(trainedCount, index),
    })),
    variables,
    trainedCount,
    initial: (index) => initial[index]!,
    assign: (index, values) => assign(variables[index]!, values),
    outputs: (inputs, isTraining) =>
      model.apply(inputs as never, { training: isTraining }) as Tensor,
    topology: model.toJSON(null, false) as Readonly<Record<string, unknown>>,
    dispose: () => void model.dispose(),
  };
}

const stateFrom = (trainedCount: number, index: number) =>
  index < trainedCount ? {} : { trained: false as const };

function functionModel(model: FunctionModel, seed: number): Model {
  const init = initializers(seed);
  const trained = Object.entries(model.weights(init));
  const trainedCount = trained.length;
  const weights = [...trained, ...Object.entries(model.state?.(init) ?? {})];
  const variables = weights.map(([, { shape, values }]) =>
    tf.variable(tf.tensor(values.slice(), [...shape])),
  );
  const named = () =>
    Object.fromEntries(weights.map(([name], index) => [name, variables[index] as Tensor]));
  return {
    weights: weights.map(([name, { shape }], index) => ({
      ...{ name, shape },
      ...stateFrom(trainedCount, index),
    })),
    variables,
    trainedCount,
    initial: (index) => weights[index]![1].values,
    assign: (index, values) => assign(variables[index]!, values),
    outputs: (inputs, isTraining) =>
      model.forward(named(), inputs, {
        isTraining,
        setState: (name, value) => {
          const index = weights.findIndex(([known]) => known === name);
          if (index < trainedCount)
            throw new AppError("program-invalid", `the model has no state "${name}"`);
          if (isTraining) variables[index]!.assign(value);
        },
        dropout: (x, rate) => (isTraining ? tf.dropout(x as never, rate) : x),
      }),
    topology: undefined,
    dispose: () => variables.forEach((variable) => void variable.dispose()),
  };
}

function assign(variable: Variable, values: Float32Array): void {
  // The tensor keeps the array it is given, so it gets one of its own.
  const tensor = tf.tensor(values.slice(), variable.shape, "float32");
  variable.assign(tensor);
  tensor.dispose();
}

function initializers(seed: number): Initializers {
  let calls = 0;
  const made = (
    shape: readonly number[],
    fill: (values: Float32Array, call: number) => void,
  ): Weights => {
    const values = new Float32Array(shape.reduce((product, length) => product * length, 1));
    fill(values, calls);
    calls += 1;
    return { shape, values };
  };
  const fans = (shape: readonly number[]) => {
    const field = shape.slice(0, -2).reduce((product, length) => product * length, 1);
    return { fanIn: field * (shape.at(-2) ?? 1), fanOut: field * (shape.at(-1) ?? 1) };
  };
  return {
    zeros: (shape) => made(shape, () => undefined),
    ones: (shape) => made(shape, (values) => values.fill(1)),
    glorotUniform: (shape) =>
      made(shape, (values, call) => {
        const { fanIn, fanOut } = fans(shape);
        const limit = Math.sqrt(6 / (fanIn + fanOut));
        fillUniform({ seed, purpose: purposes.initialization, a: call }, values);
        for (let i = 0; i < values.length; i += 1) values[i] = (2 * values[i]! - 1) * limit;
      }),
    heNormal: (shape) =>
      made(shape, (values, call) => {
        const deviation = Math.sqrt(2 / fans(shape).fanIn);
        fillNormal({ seed, purpose: purposes.initialization, a: call }, values);
        for (let i = 0; i < values.length; i += 1) values[i] = values[i]! * deviation;
      }),
  };
}
