/** Values of a tensor, copied once. */
import { type Tensor, tf } from "@coxswain/program";

/** A back end whose memory can be looked at, as that of wasm. */
interface Shown {
  typedArrayFromHeap?(tensor: Tensor): Float32Array;
}

/** `dataSync` copies too, into memory that is thrown away right after. */
export function copyTensor(tensor: Tensor, out: Float32Array): void {
  const backend = tf.backend() as Shown;
  out.set(backend.typedArrayFromHeap?.(tensor) ?? (tensor.dataSync() as Float32Array));
}
