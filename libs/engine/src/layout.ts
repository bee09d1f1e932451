/** Where a program's tensors lie in the flat vector. */
import type { Range } from "@coxswain/program";
import type { Layout, Segment } from "./port.ts";

/** Floats in 64 bytes. */
const line = 16;
export const roundUp = (floats: number) => Math.ceil(floats / line) * line;

export function layoutOf(
  tensors: readonly Pick<Segment, "name" | "shape" | "trained">[],
  metricNames: readonly string[],
  slotCount: number,
): Layout {
  let offset = 0;
  const segments: Segment[] = tensors.map(({ name, shape, trained }) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const untrained = trained === false ? { trained } : {};
    const segment = { name, shape: [...shape], offset, size, ...untrained };
    offset += roundUp(size);
    return segment;
  });
  return {
    segments,
    parameterFloats: offset,
    metricNames,
    vectorFloats: roundUp(offset + metricNames.length),
    slotCount,
  };
}

/** Where each trained tensor lies, padding included: together the first part of the vector, in order. */
export function tensorRanges({ segments, parameterFloats }: Layout): Range[] {
  return segments
    .filter(({ trained }) => trained !== false)
    .map(({ offset }, index) => ({
      from: offset,
      to: segments[index + 1]?.offset ?? parameterFloats,
    }));
}

/** State that is not trained takes its next value from the reduced vector, as it is. */
export function takeState(
  { segments, parameterFloats }: Layout,
  parameters: Float32Array,
  reduced: Float32Array,
): void {
  const from = segments.find(({ trained }) => trained === false)?.offset ?? parameterFloats;
  parameters.set(reduced.subarray(from, parameterFloats), from);
}
