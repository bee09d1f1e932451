/** How each operator takes several shards at once, so that each of them keeps its bits. */
import { anyShards, type Call, NoRule, type Rule, sizeOf } from "./axis-builder.ts";

/** Value by value, or row by row along the last axis. */
const byValue: Rule = (axis, call) => axis.again(call);

/**
 * Eigen computes curves for a whole register of values at once, and what is left over in another way,
 * with other bits: so nothing is left over, of any shard. The longest registers have 16 values.
 */
const registerValues = 16;

/** Value by value along a curve, on tensors of one shape. */
const curve: Rule = (axis, call) => {
  const size = sizeOf(call.outputShape);
  const over = size % registerValues;
  axis.requireBatched(call.op.inputs);
  if (over === 0) return axis.again(call);
  const widths = axis.numbers([0, 0, 0, registerValues - over], [2, 2]);
  const more = [axis.typeAttribute("Tpaddings")];
  const padded = call.op.inputs.map((id) =>
    axis.make("Pad", [axis.reshape(axis.idOf(id), [anyShards, size]), widths], { more }),
  );
  const [made] = axis.again(call, padded) as [number];
  const index = [axis.typeAttribute("Index")];
  const kept = axis.make("Slice", [made, axis.numbers([0, 0]), axis.numbers([-1, size])], {
    more: index,
  });
  return [axis.unfolded(kept, call)];
};

/** Value by value on several tensors, which are broadcast. */
const broadcast: Rule = (axis, call) => {
  const rank = call.outputShape.length;
  return axis.again(
    call,
    call.op.inputs.map((id) => axis.aligned(id, rank)),
  );
};

/** Value by value on tensors of one shape. */
const alike: Rule = (axis, call) => {
  axis.requireBatched(call.op.inputs);
  return axis.again(call);
};

/** Behind the axis of the shards: axes from 0, or from the end if they are below 0. */
const shifted = (axes: readonly number[], rank: number) =>
  axes.map((one) => (one < 0 ? one + rank : one) + 1);

/** The second input says along which axes. */
const axes: Rule = (axis, call) => {
  const [values, given] = call.op.inputs as [number, number];
  const numbers = axis.numbers(shifted(axis.numbersOf(given), call.shapes[0]!.length));
  return axis.again(call, [axis.idOf(values), numbers]);
};

/** The last input says along which axis. */
const alongAxis =
  (rankOf: (call: Call) => number): Rule =>
  (axis, call) => {
    const [given, dimension] = [call.op.inputs.slice(0, -1), call.op.inputs.at(-1)!];
    const moved = axis.numbers(shifted(axis.numbersOf(dimension), rankOf(call)), []);
    return axis.again(call, [...given.map((id) => axis.idOf(id)), moved]);
  };

const inputRank = ({ shapes }: Call) => shapes[0]!.length;
const outputRank = ({ outputShape }: Call) => outputShape.length;

const reshape: Rule = (axis, call) => [axis.unfolded(axis.idOf(call.op.inputs[0]!), call)];

const transpose: Rule = (axis, call) => {
  const [values, order] = call.op.inputs as [number, number];
  const moved = [0, ...shifted(axis.numbersOf(order), call.shapes[0]!.length)];
  return axis.again(call, [axis.idOf(values), axis.numbers(moved)]);
};

const attributeOf = ({ op }: Call, wanted: string) =>
  op.attributes.find(({ name }) => name === wanted)?.value;

const stacked =
  (rankOf: (call: Call) => number): Rule =>
  (axis, call) => {
    axis.requireBatched(call.op.inputs);
    const [moved] = shifted([Number(attributeOf(call, "axis") ?? 0)], rankOf(call));
    return axis.again(call, undefined, [axis.int("axis", moved!)]);
  };

const concatenation: Rule = (axis, call) => {
  axis.requireBatched(call.op.inputs.slice(0, -1));
  return alongAxis(outputRank)(axis, call);
};

/** Numbers for each axis: those of the new one come first. */
const perAxis =
  (first: readonly (readonly number[])[]): Rule =>
  (axis, call) => {
    const [values, ...rest] = call.op.inputs as [number, ...number[]];
    const more = rest.map((id, index) => axis.numbers([...first[index]!, ...axis.numbersOf(id)]));
    return axis.again(call, [axis.idOf(values), ...more]);
  };

const padding: Rule = (axis, call) => {
  const [values, widths, ...rest] = call.op.inputs as [number, number, ...number[]];
  axis.requireShared(rest);
  const numbers = [0, 0, ...axis.numbersOf(widths)];
  const moved = axis.numbers(numbers, [numbers.length / 2, 2]);
  return axis.again(call, [axis.idOf(values), moved, ...rest]);
};

/** Rows of a table that all shards share. */
const gather: Rule = (axis, call) => {
  const [table, indices, dimension] = call.op.inputs as [number, number, number];
  const isPlain =
    !axis.isBatched(table) &&
    Number(attributeOf(call, "batch_dims") ?? 0) === 0 &&
    axis.numbersOf(dimension)[0] === 0;
  if (!isPlain) throw new NoRule();
  return axis.again(call, [table, axis.idOf(indices), dimension]);
};

const oneHot: Rule = (axis, call) => {
  const [indices, ...rest] = call.op.inputs as [number, ...number[]];
  const isLast = Number(attributeOf(call, "axis") ?? -1) === -1;
  if (!isLast) throw new NoRule();
  axis.requireShared(rest);
  return axis.again(call, [axis.idOf(indices), ...rest]);
};

/** Sums of rows by segments: those of each shard apart. */
const segments: Rule = (axis, call) => {
  const [rows, ids, count] = call.op.inputs as [number, number, number];
  axis.requireBatched([rows, ids]);
  const idsRank = call.shapes[1]!.length;
  const row = call.shapes[0]!.slice(idsRank);
  const [length] = axis.numbersOf(count) as [number];
  const perShard = axis.numbers([length], []);
  const shards = axis.count(ids);
  const [zero, one] = [axis.numbers([0], []), axis.numbers([1], [])];
  const shard = axis.make("Range", [zero, shards, one], { typeName: "Tidx" });
  const first = axis.make("Mul", [shard, perShard]);
  const firstOfEach = axis.reshape(first, [-1, ...Array.from({ length: idsRank }, () => 1)]);
  const moved = axis.make("AddV2", [axis.idOf(ids), firstOfEach]);
  const all = axis.make("Mul", [shards, perShard]);
  const folded = [axis.reshape(axis.idOf(rows), [-1, ...row]), axis.reshape(moved, [-1])];
  const made = axis.again(call, [...folded, all])[0]!;
  return [axis.unfolded(made, call)];
};

const product: Rule = (axis, call) => {
  const [left, right] = call.op.inputs as [number, number];
  const [leftShape, rightShape] = call.shapes as [readonly number[], readonly number[]];
  if (axis.isBatched(right)) {
    const rank = Math.max(leftShape.length, rightShape.length);
    return axis.again(call, [axis.aligned(left, rank), axis.aligned(right, rank)]);
  }
  const isOne = sizeOf(rightShape.slice(0, -2)) === 1;
  if (!isOne || attributeOf(call, "adj_x") !== false) throw new NoRule();
  // A weight: all rows of all shards at once.
  const rows = axis.reshape(axis.idOf(left), [-1, leftShape.at(-1)!]);
  const weight = rightShape.length === 2 ? right : axis.reshape(right, rightShape.slice(-2));
  const made = axis.again(call, [rows, weight])[0]!;
  return [axis.unfolded(made, call)];
};

/** On images, whose number is the first length: those of all shards in one. */
const images: Rule = (axis, call) => {
  const [values, ...rest] = call.op.inputs as [number, ...number[]];
  axis.requireShared(rest);
  const folded = axis.reshape(axis.idOf(values), [-1, ...call.shapes[0]!.slice(1)]);
  const made = axis.again(call, [folded, ...rest])[0]!;
  return [axis.unfolded(made, call)];
};

const named = (names: string, rule: Rule): [string, Rule][] =>
  names.split(" ").map((name) => [name, rule]);

/** By TensorFlow's names of operators. */
export const rules: Readonly<Record<string, Rule>> = Object.fromEntries([
  ...named("Abs Cast Ceil Floor Identity IsFinite IsInf IsNan LeakyRelu LogicalNot", byValue),
  ...named("LogSoftmax Neg Relu Relu6 Round Sign Softmax Sqrt Square ZerosLike", byValue),
  ...named("Cos Elu Erf Exp Expm1 Inv Log Log1p Reciprocal Rsqrt Selu Sigmoid Sin", curve),
  ...named("Softplus Tan Tanh EluGrad SeluGrad SigmoidGrad TanhGrad", curve),
  ...named("Add AddV2 Div Equal FloorDiv Greater GreaterEqual Less LessEqual", broadcast),
  ...named("LogicalAnd LogicalOr Maximum Minimum Mul NotEqual Pow RealDiv SelectV2", broadcast),
  ...named("SquaredDifference Sub", broadcast),
  ...named("LeakyReluGrad Relu6Grad ReluGrad Select", alike),
  ...named("All Any Max Mean Min Prod ReverseV2 Sum", axes),
  ...named("ArgMax ArgMin SplitV", alongAxis(inputRank)),
  ...named("AvgPool Conv2D DepthwiseConv2dNative MaxPool", images),
  ...named("Pad PadV2", padding),
  ["BatchMatMulV2", product],
  ["ConcatV2", concatenation],
  ["GatherV2", gather],
  ["OneHot", oneHot],
  ["Pack", stacked(outputRank)],
  ["Reshape", reshape],
  ["Slice", perAxis([[0], [-1]])],
  ["Tile", perAxis([[1]])],
  ["Transpose", transpose],
  ["UnsortedSegmentSum", segments],
  ["Unpack", stacked(inputRank)],
]);
