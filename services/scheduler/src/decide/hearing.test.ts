import { equal } from "node:assert/strict";
import { test } from "node:test";
import { type Hearing, hear, isSilent } from "./hearing.ts";

const timeoutMs = 6000;
const heardAtMs = 1000;
/** Looks, as time and whether it was connected then. */
type Look = readonly [number, boolean];

const cases: Record<string, readonly [readonly Look[], boolean]> = {
  "a node that was heard lately is not silent": [[[6900, true]], false],
  "a node that was not heard for so long is": [
    [
      [2500, true],
      [5000, true],
      [7100, true],
    ],
    true,
  ],
  "the time without a connection does not count": [
    [
      [2500, true],
      [5000, false],
      [7100, true],
    ],
    false,
  ],
  "it counts from the reconnection on": [
    [
      [5000, false],
      [7500, true],
      [9500, true],
      [11_100, true],
    ],
    true,
  ],
  "who was stopped has heard nobody": [
    [
      [2500, true],
      [9000, true],
    ],
    false,
  ],
};

for (const [name, [looks, want]] of Object.entries(cases))
  test(name, () => {
    let hearing: Hearing = { sinceMs: 0, lookedAtMs: heardAtMs };
    for (const [nowMs, isConnected] of looks)
      hearing = hear(hearing, { nowMs, isConnected, timeoutMs });
    equal(isSilent(hearing, heardAtMs, { nowMs: looks.at(-1)![0], timeoutMs }), want);
  });
