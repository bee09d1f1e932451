/** Additions and copies within one WebAssembly memory: SIMD, and no detour over JavaScript's views. */
import { assert } from "@coxswain/domain";

/** out[i] = a[i] + b[i]; all three lie in the memory, on 16-byte boundaries, and have equal lengths. */
export type Add = (out: Float32Array, a: Float32Array, b: Float32Array) => void;

export interface Kernels {
  readonly add: Add;
  /** out[i] = from[i]; both lie in the memory and have equal lengths. */
  readonly copy: (out: Float32Array, from: Float32Array) => void;
}

const loopMultiple = 4;

const advance = (local: number) => [0x20, local, 0x41, 16, 0x6a, 0x21, local];
const loadLocal = (local: number) => [0x20, local, 0xfd, 0x00, 4, 0];

/** while (bytes >= 16) { out = a + b; all += 16 }; lengths are multiples of 16 bytes */
const addBody = [
  ...[0, 0x02, 0x40, 0x03, 0x40], // no more locals; block, loop
  ...[0x20, 3, 0x41, 16, 0x48, 0x0d, 1], // fewer than 16 bytes left: out
  ...[0x20, 0, ...loadLocal(1), ...loadLocal(2), 0xfd, 0xe4, 1, 0xfd, 0x0b, 4, 0], // store f32x4.add
  ...advance(0),
  ...advance(1),
  ...advance(2),
  ...[0x20, 3, 0x41, 16, 0x6b, 0x21, 3, 0x0c, 0], // bytes -= 16, again
  ...[0x0b, 0x0b, 0x0b],
];
/** memory.copy(out, from, bytes); the third argument is not used */
const copyBody = [0, 0x20, 0, 0x20, 1, 0x20, 3, 0xfc, 0x0a, 0, 0, 0x0b];

const withLength = (bytes: readonly number[]) => [bytes.length, ...bytes];

/** The module, written out byte by byte: two functions of (out, a, b, bytes), exported as a and c. */
function moduleBytes(): Uint8Array<ArrayBuffer> {
  const code = [2, ...withLength(addBody), ...withLength(copyBody)];
  return new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 8, 1, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0], // type: (i32, i32, i32, i32) -> ()
    ...[2, 11, 1, 1, 0x6d, 1, 0x6d, 2, 3, 0, 0x80, 0x80, 4], // import m.m: shared memory
    ...[3, 3, 2, 0, 0, 7, 9, 2, 1, 0x61, 0, 0, 1, 0x63, 0, 1],
    ...[0x0a, ...withLength(code)],
  ]);
}

export function buildKernels(memory: WebAssembly.Memory): Kernels {
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(moduleBytes()), {
    m: { m: memory },
  });
  type Run = (out: number, a: number, b: number, bytes: number) => void;
  const [add, copy] = [exports["a"] as Run, exports["c"] as Run];
  return {
    add: (out, a, b) => {
      assert(
        out.length === a.length && a.length === b.length && out.length % loopMultiple === 0,
        "equal lengths, multiples of four",
      );
      add(out.byteOffset, a.byteOffset, b.byteOffset, out.byteLength);
    },
    copy: (out, from) => {
      assert(out.length === from.length, "equal lengths");
      copy(out.byteOffset, from.byteOffset, 0, out.byteLength);
    },
  };
}
