/**
 * The chaos of `group` on a job that has given its bits up: the members of a generation have equal
 * weights after every step all the same, whatever they are.
 */
import { runWith } from "./group.ts";
import type { Outcome, RunOptions } from "./lib/scenario.ts";

export const run = (options: RunOptions): Promise<Outcome> => runWith(options, "fast");
