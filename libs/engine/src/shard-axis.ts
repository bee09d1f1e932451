/**
 * A recorded step of one shard as a step of several shards at once: each tensor that depends on the
 * batch gets a first axis, the shards, whose length is known when it runs. The idea is JAX's `vmap`
 * (Frostig, Johnson, Leary: Compiling machine learning programs via high-level tracing, 2018).
 *
 * Products with a weight take the rows of all shards together; whatever adds up samples still does so
 * within a shard. So a shard's results are meant to keep their bits: who runs it looks whether they do.
 */
import { AxisBuilder, NoRule, type Steps, type Types, type WithShardAxis } from "./axis-builder.ts";
import { rules } from "./axis-rules.ts";

/**
 * @param batchInputs so many of the first inputs belong to a shard; so do all random numbers
 * @returns undefined when an operator has no rule
 */
export function addShardAxis(
  types: Types,
  recording: Steps,
  batchInputs: number,
): WithShardAxis | undefined {
  try {
    return new AxisBuilder(types, recording, batchInputs).whole(rules);
  } catch (error) {
    if (error instanceof NoRule) return undefined;
    throw error;
  }
}
