/**
 * The flat vectors of a worker in one shared WebAssembly memory, so that the compute thread and the
 * exchange thread see the same bytes, and additions run with SIMD.
 *
 * Untouched pages cost nothing, so the areas are laid out once for the largest case.
 */
import { assert } from "@coxswain/domain";
import type { Layout } from "@coxswain/engine";

export interface Areas {
  readonly memory: WebAssembly.Memory;
  readonly layout: Layout;
  readonly shards: number;
}

export interface Vectors {
  /** [parameterFloats] */
  readonly parameters: Float32Array;
  /** slotCount of [parameterFloats] */
  readonly slots: readonly Float32Array[];
  /** The reduced vectors of two consecutive steps, by step % 2; [vectorFloats] each. */
  readonly reduced: readonly [Float32Array, Float32Array];
  /** Subtrees of the own shards; [vectorFloats] each. */
  readonly pool: readonly Float32Array[];
  /** Pieces received for the own slice, one after the other. */
  readonly received: Float32Array;
}

const pageBytes = 65_536;

/** The greatest number of aligned subtrees in a range, and a few that are being added up. */
export function poolSize(shards: number): number {
  return 2 * Math.log2(shards) + 4;
}

function floatsOf(layout: Layout, shards: number): number {
  const receivedFloats = receivedFloatsOf(layout, shards);
  return (
    layout.parameterFloats * (1 + layout.slotCount) +
    layout.vectorFloats * (2 + poolSize(shards)) +
    receivedFloats
  );
}

/** Two steps' pieces (a fast peer is one step ahead), each piece cut to the own slice. */
function receivedFloatsOf(layout: Layout, shards: number): number {
  return layout.vectorFloats * Math.max(2, 4 * Math.log2(Math.max(2, shards))) + 64 * shards;
}

export function allocate(layout: Layout, shards: number): Areas {
  const pages = Math.ceil((floatsOf(layout, shards) * 4) / pageBytes) + 1;
  assert(pages <= 65_536, "the vectors fit into 4 GiB");
  return {
    memory: new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true }),
    layout,
    shards,
  };
}

/** Views of the areas; the same in every thread. */
export function vectorsOf({ memory, layout, shards }: Areas): Vectors {
  let offset = 0;
  const take = (floats: number) => {
    const view = new Float32Array(memory.buffer, offset * 4, floats);
    offset += floats;
    return view;
  };
  return {
    parameters: take(layout.parameterFloats),
    slots: Array.from({ length: layout.slotCount }, () => take(layout.parameterFloats)),
    reduced: [take(layout.vectorFloats), take(layout.vectorFloats)],
    pool: Array.from({ length: poolSize(shards) }, () => take(layout.vectorFloats)),
    received: take(receivedFloatsOf(layout, shards)),
  };
}

/** out[i] = a[i] + b[i]; all three lie in the memory, on 16-byte boundaries, and have equal lengths. */
export type Add = (out: Float32Array, a: Float32Array, b: Float32Array) => void;

const loopMultiple = 4;

/**
 * SIMD addition as a WebAssembly module of one function, written out byte by byte:
 * `while (bytes >= 16) { out = a + b; all += 16 }`. Lengths are multiples of 16 floats.
 */
export function buildAdd(memory: WebAssembly.Memory): Add {
  const advance = (local: number) => [0x20, local, 0x41, 16, 0x6a, 0x21, local];
  const loadLocal = (local: number) => [0x20, local, 0xfd, 0x00, 4, 0];
  const body = [
    ...[0, 0x02, 0x40, 0x03, 0x40], // no more locals; block, loop
    ...[0x20, 3, 0x41, 16, 0x48, 0x0d, 1], // fewer than 16 bytes left: out
    ...[0x20, 0, ...loadLocal(1), ...loadLocal(2), 0xfd, 0xe4, 1, 0xfd, 0x0b, 4, 0], // store f32x4.add
    ...advance(0),
    ...advance(1),
    ...advance(2),
    ...[0x20, 3, 0x41, 16, 0x6b, 0x21, 3, 0x0c, 0], // bytes -= 16, again
    ...[0x0b, 0x0b, 0x0b],
  ];
  const bytes = new Uint8Array([
    ...[0x00, 0x61, 0x73, 0x6d, 1, 0, 0, 0],
    ...[1, 8, 1, 0x60, 4, 0x7f, 0x7f, 0x7f, 0x7f, 0], // type: (i32, i32, i32, i32) -> ()
    ...[2, 11, 1, 1, 0x6d, 1, 0x6d, 2, 3, 0, 0x80, 0x80, 4], // import m.m: shared memory
    ...[3, 2, 1, 0, 7, 5, 1, 1, 0x61, 0, 0], // one function, exported as a
    ...[0x0a, body.length + 2, 1, body.length, ...body],
  ]);
  const { exports } = new WebAssembly.Instance(new WebAssembly.Module(bytes), { m: { m: memory } });
  const run = exports["a"] as (out: number, a: number, b: number, bytes: number) => void;
  return (out, a, b) => {
    assert(
      out.length === a.length && a.length === b.length && out.length % loopMultiple === 0,
      "equal lengths, multiples of four",
    );
    run(out.byteOffset, a.byteOffset, b.byteOffset, out.byteLength);
  };
}
