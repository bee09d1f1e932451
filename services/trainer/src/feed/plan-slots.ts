/** How many batches are kept ready: two whole steps, as far as they fit into the limit. */
import { AppError } from "@coxswain/domain";
import type { Shapes } from "@coxswain/program";
import type { Slots } from "./messages.ts";

const slotBytesMax = 256 * 1024 * 1024;
const memoryBytesMax = 64 * 1024 * 1024;
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
  const fitting = Math.floor(memoryBytesMax / Math.max(1, bytes));
  const count = Math.max(slotsMin, Math.min(2 * job.shards, fitting));
  return { memory: new SharedArrayBuffer(count * bytes), count, inputFloats, labelFloats };
}
