/** The reduction among ranks of one process, for tests: what one sends the other has at once. */
import type { Layout } from "@coxswain/engine";
import {
  assignShards,
  type ExchangeMode,
  halvesOf,
  type Piece,
  piecesOf,
} from "../decide/shards.ts";
import { parseFrame, vectorFrames } from "./frames.ts";
import { buildKernels, type Kernels } from "./kernels.ts";
import { allocate, type Vectors, vectorsOf } from "./memory.ts";
import { Reduce } from "./reduce.ts";

/** A layout of one tensor, for vectors of so many floats. */
export function plainLayout(floats: number): Layout {
  const segments = [{ name: "w", shape: [floats], offset: 0, size: floats }];
  return { segments, parameterFloats: floats, metricNames: [], vectorFloats: floats, slotCount: 0 };
}

/** One step's all-reduce of the shards' vectors among `world` ranks; what each of them has in the end. */
export function reduceAmong(
  shards: readonly Float32Array[],
  world: number,
  mode: ExchangeMode = "exact",
): Float32Array[] {
  const layout = plainLayout(shards[0]!.length);
  const ranges = assignShards(shards.length, world);
  const memories = ranges.map(() => allocate(layout, shards.length));
  const vectors = memories.map(vectorsOf);
  const deliver = (other: number, frame: Buffer, from: number) => {
    const parsed = parseFrame(frame);
    if (parsed.kind === "frame") reduces[other]!.receive(parsed.frame, from);
  };
  const reduces = memories.map(
    ({ memory }, rank): Reduce =>
      new Reduce({
        ...{ generation: 1, step: 0, turn: 0, shards: shards.length, mode, rank, ranges },
        vectors: vectors[rank]!,
        vectorFloats: layout.vectorFloats,
        kernels: buildKernels(memory),
        send: (other, frame) => deliver(other, frame, rank),
        sendVector: (other, head, vector) => {
          for (const frame of vectorFrames(head, vector)) deliver(other, frame, rank);
        },
        onWhole: () => undefined,
      }),
  );
  for (const [rank, range] of ranges.entries()) {
    const kernels = buildKernels(memories[rank]!.memory);
    for (const [buffer, piece] of piecesOf(range, mode).entries()) {
      addUp(piece, buffer, { shards, kernels, vectors: vectors[rank]! });
      reduces[rank]!.give(piece, buffer);
    }
  }
  return vectors.map(({ reduced }) => reduced[0].slice());
}

/** The piece's sum in this buffer; the ones after it are for halves. */
function addUp(
  { lo, size }: Piece,
  buffer: number,
  own: {
    readonly shards: readonly Float32Array[];
    readonly kernels: Kernels;
    readonly vectors: Vectors;
  },
): void {
  const { pool } = own.vectors;
  if (size === 1) return pool[buffer]!.set(own.shards[lo]!);
  const [left, right] = halvesOf({ lo, size });
  addUp(left, buffer, own);
  addUp(right, buffer + 1, own);
  own.kernels.add(pool[buffer]!, pool[buffer]!, pool[buffer + 1]!);
}
