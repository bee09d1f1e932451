/**
 * The gradient of a weight is a product of matrices. Where it is larger than its factors, the factors
 * leave the recorded function, and our addon makes the sum of the shards' products: native/tree-sum.h.
 */
import type { Binding } from "./binding.ts";
import type { Recording } from "./record.ts";

/** With more samples TensorFlow's own product is the faster one. */
const depthMax = 32;

/** Ids of the two factors when the tensor is such a product, whatever its shape; else undefined. */
export function factorsOf(
  binding: Binding,
  recording: Recording,
  tensor: number,
): readonly [number, number] | undefined {
  const { ops, inputs, shapes } = recording;
  const made = ops.find(({ outputs }) => outputs[0] === tensor);
  const [left, right] = made?.inputs ?? [];
  if (made === undefined || left === undefined || right === undefined) return undefined;
  if (made.op === "Reshape") return factorsOf(binding, recording, left);
  if (made.op !== "BatchMatMulV2") return undefined;
  const isSet = (name: string, value: unknown) =>
    made.attributes.some((attribute) => attribute.name === name && attribute.value === value);
  if (!isSet("adj_x", true) || !isSet("adj_y", false) || !isSet("T", binding.TF_FLOAT))
    return undefined;
  const shapeOf = (id: number) =>
    shapes.get(id) ?? inputs.find((input) => input.id === id)?.shape ?? [];
  const [one, other] = [matrixOf(shapeOf(left)), matrixOf(shapeOf(right))];
  if (one === undefined || other === undefined) return undefined;
  const isLarger = one.width * other.width > one.depth * (one.width + other.width);
  return isLarger && one.depth <= depthMax ? [left, right] : undefined;
}

/** Undefined where it is several matrices. */
function matrixOf(
  shape: readonly number[],
): { readonly depth: number; readonly width: number } | undefined {
  const [depth, width] = shape.slice(-2);
  const isOne = shape.slice(0, -2).every((length) => length === 1);
  return isOne && depth !== undefined && width !== undefined ? { depth, width } : undefined;
}
