import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import type { Job } from "@coxswain/domain";
import type { StoredEvent } from "@coxswain/events";
import { watchPlacement } from "./watch.ts";

type Seen = readonly [state: string, ...placed: string[]];

const cases: Record<string, { readonly seen: readonly Seen[]; readonly leaves: number }> = {
  "a worker that is placed stays": {
    seen: [
      ["running", "w1"],
      ["running", "w2", "w1"],
    ],
    leaves: 0,
  },
  "one that is placed no more leaves": {
    seen: [
      ["running", "w1"],
      ["running", "w2"],
    ],
    leaves: 1,
  },
  "one that starts too late leaves at once": { seen: [["running", "w2"]], leaves: 1 },
  "one whose job stops leaves": {
    seen: [
      ["running", "w1"],
      ["stopping", "w1"],
    ],
    leaves: 1,
  },
  "one whose job finishes is needed to the end": {
    seen: [
      ["running", "w1"],
      ["finishing", "w1"],
    ],
    leaves: 0,
  },
};

for (const [name, { seen, leaves }] of Object.entries(cases))
  test(name, () => {
    let now = seen[0]!;
    let told = 0;
    let tell: (event: StoredEvent) => void = () => undefined;
    const job = () => {
      const [kind, ...placed] = now;
      return {
        state: { kind },
        placement: placed.map((workerId) => ({ workerId })),
      } as unknown as Job;
    };
    const onEvent = (listener: typeof tell) => {
      tell = listener;
    };
    watchPlacement({ job, onEvent }, "w1", () => {
      told += 1;
    });
    for (const next of seen.slice(1)) {
      now = next;
      tell({ name: "training.progressed" } as StoredEvent);
      tell({ name: "job.placed" } as StoredEvent);
    }
    deepEqual(told, leaves);
  });
