/**
 * The chaos of `group` on a job whose batch changes meanwhile: the weights are those of the batches
 * that the generations name, whoever was lost and whoever trained a step again.
 */
import { runWith } from "./group.ts";
import type { Outcome, RunOptions } from "./lib/scenario.ts";

export const run = (options: RunOptions): Promise<Outcome> =>
  runWith(options, "exact", { everyMs: 700 });
