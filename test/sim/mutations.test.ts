/** The simulation can fail: each known way to break the platform is noticed. */
import { ok } from "node:assert/strict";
import { availableParallelism } from "node:os";
import { test } from "node:test";
import { findMutation } from "./find-mutations.ts";
import { mutations } from "./mutations.ts";

for (const mutation of mutations) {
  test(`noticed within 1,000 seeds: ${mutation.name}`, { timeout: 600_000 }, async () => {
    const { atSeed } = await findMutation(mutation, availableParallelism(), mutation.seenAt);
    ok(atSeed !== undefined);
  });
}
