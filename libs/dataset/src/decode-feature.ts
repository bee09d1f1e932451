/** A stored feature as the float32 values that a program sees. */
import type { Feature } from "./manifest.ts";

/** Writes the feature of one sample; `into` has the size of `shapeOf(feature)`, zeros. */
export function decodeFeature(feature: Feature, bytes: Uint8Array, into: Float32Array): void {
  const { dtype, classes, divideBy } = feature;
  if (dtype === "float32") {
    new Uint8Array(into.buffer, into.byteOffset, into.byteLength).set(bytes);
  } else if (classes === undefined) into.set(bytes);
  else for (const [i, value] of bytes.entries()) if (value < classes) into[i * classes + value] = 1;
  if (divideBy !== undefined) for (let i = 0; i < into.length; i += 1) into[i]! /= divideBy;
}
