/**
 * How many batches are kept ready: some whole steps where they are small, so that the loader need not be
 * woken in each; else two, as far as they fit into the limit.
 */
import { AppError } from "@coxswain/domain";
import type { Shapes } from "@coxswain/program";
import { SlotBoard, type Slots } from "./messages.ts";

const slotBytesMax = 256 * 1024 * 1024;
const memoryBytesMax = 64 * 1024 * 1024;
const smallBytesMax = 4 * 1024 * 1024;
const smallSteps = 8;
/** One is computed from while the next is read. */
const slotsMin = 2;

const sizeOf = (shape: readonly number[]) => shape.reduce((product, length) => product * length, 1);

/** @throws AppError `too-large` when not even two shards fit into 512 MiB */
export function planSlots(
  job: Shapes & { readonly batchSize: number; readonly shards: number },
): Slots {
  const samples = job.batchSize / job.shards;
  const inputFloats = samples * sizeOf(job.inputShape);
  const labelFloats = samples * sizeOf(job.labelShape);
  const bytes = (inputFloats + labelFloats) * 4;
  if (bytes > slotBytesMax)
    throw new AppError("too-large", `one shard has ${bytes} bytes of data; ask for more shards`);
  const fitting = (bytesMax: number) => Math.floor(bytesMax / Math.max(1, bytes));
  const small = Math.min(smallSteps * job.shards, fitting(smallBytesMax));
  const count = Math.max(slotsMin, small, Math.min(2 * job.shards, fitting(memoryBytesMax)));
  const memory = new SharedArrayBuffer(count * bytes);
  return { memory, board: SlotBoard.allocate(count), count, inputFloats, labelFloats };
}
