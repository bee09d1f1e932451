/** Begins neighbouring shards, in as few runs as keep their bits. */
import type { ShardRuns, ShardsInput } from "./port.ts";

/** @returns the numbers of the runs, in order, for `sum` */
export function startShards(runs: ShardRuns, input: ShardsInput): number[] {
  const count = runs.atOnce(input.count);
  return Array.from({ length: input.count / count }, (_, i) =>
    runs.start({ ...input, shard: input.shard + i * count, count }),
  ).flat();
}
