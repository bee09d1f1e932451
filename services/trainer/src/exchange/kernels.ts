/** Additions and copies within one WebAssembly memory: SIMD, and no detour over JavaScript's views. */
import { assert } from "@coxswain/domain";
import { instantiate, loopOver, op, types, type WasmFunction } from "./wasm-module.ts";

export interface Kernels {
  /** out[i] = a[i] + b[i]; all three lie in the memory, on 16-byte boundaries, and have equal lengths. */
  readonly add: (out: Float32Array, a: Float32Array, b: Float32Array) => void;
  /** out[i] = from[i]; both lie in the memory and have equal lengths. */
  readonly copy: (out: Float32Array, from: Float32Array) => void;
  /** Bytes from anywhere; from this memory it is much faster. They fit into `out` from `offset` on. */
  readonly put: (out: Float32Array, offset: number, from: Uint8Array) => void;
}

const loopMultiple = 4;
const { i32 } = types;

/** (out, a, b, bytes) */
const addFunction: WasmFunction = {
  name: "add",
  parameters: [i32, i32, i32, i32],
  locals: [],
  body: loopOver(
    3,
    [0, 1, 2],
    [
      ...op.get(0),
      ...[...op.get(1), ...op.v128Load],
      ...[...op.get(2), ...op.v128Load],
      ...op.f32x4.add,
      ...op.v128Store,
    ],
  ),
};

/** (out, from, bytes) */
const copyFunction: WasmFunction = {
  name: "copy",
  parameters: [i32, i32, i32],
  locals: [],
  body: [...op.get(0), ...op.get(1), ...op.get(2), ...op.memoryCopy],
};

export function buildKernels(memory: WebAssembly.Memory): Kernels {
  const { add, copy } = instantiate(memory, [addFunction, copyFunction]);
  return {
    add: (out, a, b) => {
      assert(
        out.length === a.length && a.length === b.length && out.length % loopMultiple === 0,
        "equal lengths, multiples of four",
      );
      add!(out.byteOffset, a.byteOffset, b.byteOffset, out.byteLength);
    },
    copy: (out, from) => {
      assert(out.length === from.length, "equal lengths");
      copy!(out.byteOffset, from.byteOffset, out.byteLength);
    },
    put: (out, offset, from) => {
      assert(offset + from.length <= out.byteLength, "the bytes fit");
      if (from.buffer === memory.buffer)
        copy!(out.byteOffset + offset, from.byteOffset, from.length);
      else new Uint8Array(out.buffer, out.byteOffset, out.byteLength).set(from, offset);
    },
  };
}
