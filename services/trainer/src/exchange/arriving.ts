/** A part of a vector whose bytes come in order: a piece's own slice, or another's finished slice. */
import type { Frame } from "./frames.ts";

export interface Arriving {
  readonly target: Float32Array;
  bytes: number;
}

export const arrived = (target: Float32Array): Arriving => ({ target, bytes: target.byteLength });

export const isWhole = ({ target, bytes }: Arriving) => bytes === target.byteLength;

/** Bytes arrive in order, and not beyond the end. */
export function whyNotNext(
  { target, bytes }: Arriving,
  { offset, payload }: Frame,
): string | undefined {
  const isRest = offset === bytes && offset + payload.length <= target.byteLength;
  const isEmpty = payload.length === 0 && target.length > 0;
  return isRest && !isEmpty ? undefined : "the frame is not the next one of its vector";
}
