/** Where a program's tensors lie in the flat vector. */
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
