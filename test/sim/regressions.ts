/** Seeds that have found a bug once: run first, each time. */
import type { ScenarioName } from "./lib/scenario.ts";

export interface Regression {
  readonly scenario: ScenarioName;
  readonly seed: number;
  readonly only?: readonly number[];
  /** What was wrong. */
  readonly why: string;
}

export const regressions: readonly Regression[] = [
  {
    scenario: "group",
    seed: 66,
    why: "a newcomer whose proposer died at once started over and waited for itself",
  },
];
