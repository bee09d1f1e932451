import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { serve } from "./serve.ts";
import { idealMs, workloadsOf } from "./workloads.ts";

test("the load has the published size and mix", () => {
  const workloads = workloadsOf(1);
  equal(workloads.length, 15_000);
  equal(workloads.filter(({ class: { name } }) => name === "large").length, 1500);
  // 1,320 core-seconds for each queue of 20 cores.
  equal(idealMs(workloads), 66_000);
});

test("every workload is admitted and ends, and none before it could", () => {
  const workloads = workloadsOf(0.02);
  const served = serve(workloads, 0.5);
  equal(served.unfinished, 0);
  ok(served.totalMs >= idealMs(workloads));
  equal([...served.admitMs.values()].flat().length, workloads.length);
});
