/** A few seeds of each scenario; `npm run sim` runs them by the thousand. */
import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { runSeeds, seedsFrom } from "./lib/run-seeds.ts";
import { scenarioNames } from "./lib/scenario.ts";
import { regressions } from "./regressions.ts";

for (const scenario of scenarioNames) {
  test(`${scenario}: what must hold, holds under seeded faults; also for seeds that once found a bug`, async () => {
    const known = regressions.filter((one) => one.scenario === scenario);
    const orders = [...known.map(({ seed, only }) => ({ seed, only })), ...seedsFrom(1, 100)];
    const { violations } = await runSeeds({ scenario, threads: 2, orders });
    deepEqual(
      violations.map(({ seed, violation }) => `seed ${seed}: ${violation}`),
      [],
    );
  });
}
