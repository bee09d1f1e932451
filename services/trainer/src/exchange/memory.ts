/**
 * The flat vectors of a worker in one shared WebAssembly memory, so that the compute thread and the
 * exchange thread see the same bytes, and additions run with SIMD.
 *
 *   shared part | private part | a window for the shared part of each peer on the same machine
 *
 * Peers read each other's shared part where it lies. A stamp for each vector counts how often it
 * began to be overwritten: who finds the stamp as it was told, after reading, has read what was meant.
 *
 * Untouched pages cost nothing, so the areas are laid out once for the largest case.
 */
import { assert } from "@coxswain/domain";
import type { Layout } from "@coxswain/engine";
import { pageBytes } from "@coxswain/shared-memory";
import { boardInts } from "./board.ts";
import { readerBytes } from "./frame-reader.ts";
import type { Place } from "./frames.ts";

export interface Areas {
  readonly memory: WebAssembly.Memory;
  readonly layout: Layout;
  readonly shards: number;
  /** Peers whose shared part there is room for. */
  readonly windows: number;
}

/** What peers on the same machine may read. */
export interface Shared {
  /** Four numbers drawn at random: whoever maps this memory proves by them that it is the right one. */
  readonly token: Int32Array;
  /** One for each vector: first the pool's, then those of `reduced`. */
  readonly stamps: Int32Array;
  /** What this worker tells its peers of the steps that are under way: see `board.ts`. */
  readonly board: Int32Array;
  /** The reduced vectors of two consecutive updates, in turn; [vectorFloats] each. */
  readonly reduced: readonly [Float32Array, Float32Array];
  /** Subtrees of the own shards; [vectorFloats] each. */
  readonly pool: readonly Float32Array[];
}

export interface Vectors extends Shared {
  /** [parameterFloats] */
  readonly parameters: Float32Array;
  /** slotCount of [parameterFloats] */
  readonly slots: readonly Float32Array[];
  /** Pieces received for the own slice, one after the other. */
  readonly received: Float32Array;
  /** For what comes from connections. */
  readonly receiveBuffers: readonly Buffer[];
}

const pagesMax = 65_536;
const tokenInts = 4;
/** Ints in 64 bytes. */
const line = 16;

/** The greatest number of aligned subtrees in a range, and a few that are being added up. */
export function poolSize(shards: number): number {
  return 2 * Math.log2(shards) + 4;
}

/** Where the stamp of `reduced[turn]` is. */
export function reducedStamp(shards: number, turn: 0 | 1): number {
  return poolSize(shards) + turn;
}

/** A vector that peers may read, and where its stamp is. */
export interface Stamped {
  readonly stamp: number;
  readonly vector: Float32Array;
}

/** Says that a vector is about to be overwritten. */
export function beginWrite({ stamps }: Shared, vector: number): void {
  Atomics.add(stamps, vector, 1);
}

/** Whether what was read there is what was meant. */
export function isAsTold({ stamps }: Shared, { vector, stamp }: Place): boolean {
  return Atomics.load(stamps, vector) === stamp;
}

const stampInts = (shards: number) =>
  Math.ceil((tokenInts + poolSize(shards) + 2) / line) * line - tokenInts;
const headInts = (shards: number) =>
  tokenInts + stampInts(shards) + Math.ceil(boardInts(poolSize(shards)) / line) * line;

/** Pages of the shared part. */
function sharedPages(layout: Layout, shards: number): number {
  const floats = headInts(shards) + layout.vectorFloats * (2 + poolSize(shards));
  return Math.ceil((floats * 4) / pageBytes);
}

function privatePages(layout: Layout, shards: number): number {
  const floats = layout.parameterFloats * (1 + layout.slotCount) + receivedFloatsOf(layout, shards);
  const bytes = floats * 4 + receiveBuffersOf(shards) * receiveBytes;
  return Math.ceil(bytes / pageBytes) + 1;
}

/** Floats that are added up at a time: they stay in the processor's cache. */
export const blockFloats = 64 * 1024;

/**
 * Two steps' pieces (a fast peer is one step ahead), each piece cut to the own slice; and a block for
 * each place of a sum in the tree.
 *
 * Of N members, the first and the last hold log2(shards) pieces at most, the others fewer than twice
 * that; a slice is an N-th of the vector.
 */
function receivedFloatsOf(layout: Layout, shards: number): number {
  const levels = Math.log2(Math.max(2, shards));
  const vectors = Array.from({ length: Math.max(1, shards - 1) }, (_, index) => {
    const members = index + 2;
    const pieces = Math.min(shards - 1, (members - 2) * 2 * (levels - 1) + levels);
    return Math.max(1, pieces) / members;
  });
  const floats = layout.vectorFloats * Math.max(...vectors) + 64 * shards;
  return 2 * Math.ceil(floats / line) * line + 4 * (levels + 1) * blockFloats;
}

/** What is read from connections lies here first; further ones read into memory of their own. */
function receiveBuffersOf(shards: number): number {
  return Math.min(shards - 1, receiveBuffersMax);
}
const receiveBuffersMax = 15;
const receiveBytes = Math.ceil(readerBytes / 64) * 64;

/** @param windowsWanted as many windows as fit are made */
export function allocate(layout: Layout, shards: number, windowsWanted = 0): Areas {
  const shared = sharedPages(layout, shards);
  const own = shared + privatePages(layout, shards);
  assert(own <= pagesMax, "the vectors fit into 4 GiB");
  const windows = Math.min(windowsWanted, Math.floor((pagesMax - own) / shared));
  const pages = own + windows * shared;
  const memory = new WebAssembly.Memory({ initial: pages, maximum: pages, shared: true });
  return { memory, layout, shards, windows };
}

/** The bytes that are shared. */
export function sharedRange({ memory, layout, shards }: Areas): Uint8Array {
  return new Uint8Array(memory.buffer, 0, sharedPages(layout, shards) * pageBytes);
}

/** The bytes of a window. */
export function windowRange({ memory, layout, shards }: Areas, window: number): Uint8Array {
  const shared = sharedPages(layout, shards);
  const page = shared + privatePages(layout, shards) + window * shared;
  return new Uint8Array(memory.buffer, page * pageBytes, shared * pageBytes);
}

class Cursor {
  readonly #memory: WebAssembly.Memory;
  #byte: number;

  constructor(memory: WebAssembly.Memory, byte: number) {
    this.#memory = memory;
    this.#byte = byte;
  }

  floats(count: number): Float32Array {
    const view = new Float32Array(this.#memory.buffer, this.#byte, count);
    this.#byte += count * 4;
    return view;
  }

  bytes(count: number): Buffer {
    const view = Buffer.from(this.#memory.buffer, this.#byte, count);
    this.#byte += Math.ceil(count / 64) * 64;
    return view;
  }

  ints(count: number): Int32Array {
    const view = new Int32Array(this.#memory.buffer, this.#byte, count);
    this.#byte += count * 4;
    return view;
  }
}

/** Views of a shared part: the own one, or a peer's in its window. */
export function sharedOf({ memory, layout, shards }: Areas, range: Uint8Array): Shared {
  const cursor = new Cursor(memory, range.byteOffset);
  const head = cursor.ints(headInts(shards));
  const stampsEnd = tokenInts + stampInts(shards);
  const vector = () => cursor.floats(layout.vectorFloats);
  return {
    token: head.subarray(0, tokenInts),
    stamps: head.subarray(tokenInts, stampsEnd),
    board: head.subarray(stampsEnd),
    reduced: [vector(), vector()],
    pool: Array.from({ length: poolSize(shards) }, vector),
  };
}

/** Views of the own areas; the same in every thread. */
export function vectorsOf(areas: Areas): Vectors {
  const { memory, layout, shards } = areas;
  const range = sharedRange(areas);
  const cursor = new Cursor(memory, range.byteLength);
  return {
    ...sharedOf(areas, range),
    parameters: cursor.floats(layout.parameterFloats),
    slots: Array.from({ length: layout.slotCount }, () => cursor.floats(layout.parameterFloats)),
    received: cursor.floats(receivedFloatsOf(layout, shards)),
    receiveBuffers: Array.from({ length: receiveBuffersOf(shards) }, () =>
      cursor.bytes(readerBytes),
    ),
  };
}

/** The metrics of a whole reduced vector. */
export function metricsIn(reduced: Float32Array, layout: Layout): Record<string, number> {
  const { metricNames, parameterFloats } = layout;
  return Object.fromEntries(
    metricNames.map((name, index) => [name, reduced[parameterFloats + index]!]),
  );
}

/** Copies floats `from <= i < to` of the state (the parameters, then each slot) to `floats`. */
export function copyState(
  { parameters, slots }: Pick<Vectors, "parameters" | "slots">,
  from: number,
  to: number,
  floats: Float32Array<ArrayBuffer> = new Float32Array(to - from),
): Float32Array<ArrayBuffer> {
  for (const [index, vector] of [parameters, ...slots].entries()) {
    const first = index * parameters.length;
    const begin = Math.max(from, first);
    const end = Math.min(to, first + parameters.length);
    if (begin < end) floats.set(vector.subarray(begin - first, end - first), begin - from);
  }
  return floats;
}
