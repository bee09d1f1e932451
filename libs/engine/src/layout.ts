/** Where a program's tensors lie in the flat vector. */
import type { Range } from "@coxswain/program";
import type { Layout, Segment } from "./port.ts";

/** Floats in 64 bytes. */
const line = 16;
export const roundUp = (floats: number) => Math.ceil(floats / line) * line;

export function layoutOf(
  tensors: readonly { readonly name: string; readonly shape: readonly number[] }[],
  metricNames: readonly string[],
  slotCount: number,
): Layout {
  let offset = 0;
  const segments: Segment[] = tensors.map(({ name, shape }) => {
    const size = shape.reduce((product, length) => product * length, 1);
    const segment = { name, shape: [...shape], offset, size };
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

/** Where each tensor lies, padding included: together all parameters, in order. */
export function tensorRanges({ segments, parameterFloats }: Layout): Range[] {
  return segments.map(({ offset }, index) => ({
    from: offset,
    to: segments[index + 1]?.offset ?? parameterFloats,
  }));
}
