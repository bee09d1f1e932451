/** Random queues and jobs for property tests. */
import type { QueueSpec } from "@coxswain/domain";
import fc from "fast-check";
import type { QueueView } from "./snapshot.ts";
import type { JobInput } from "./testing.ts";

const queueNames = ["a", "b", "c"] as const;

const anyQueue: fc.Arbitrary<QueueSpec> = fc
  .record({
    cohort: fc.option(fc.constantFrom("x", "y"), { nil: undefined }),
    weight: fc.constantFrom(1, 2),
    strategy: fc.constantFrom("BestEffortFIFO" as const, "StrictFIFO" as const),
    nominal: fc.option(fc.integer({ min: 0, max: 6 }), { nil: undefined }),
    borrow: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
    lend: fc.option(fc.integer({ min: 0, max: 4 }), { nil: undefined }),
  })
  .map(({ cohort, weight, strategy, nominal, borrow, lend }) => ({
    weight,
    strategy,
    isStopped: false,
    ...(cohort === undefined ? {} : { cohort }),
    ...(nominal === undefined ? {} : { nominalQuota: { cpu: nominal } }),
    ...(borrow === undefined ? {} : { borrowingLimit: { cpu: borrow } }),
    ...(lend === undefined ? {} : { lendingLimit: { cpu: lend } }),
  }));

export const anyQueues: fc.Arbitrary<QueueView[]> = fc
  .tuple(anyQueue, anyQueue, anyQueue)
  .map((specs) => specs.map((spec, index) => ({ name: queueNames[index]!, spec })));

export const anyJob: fc.Arbitrary<JobInput> = fc
  .record({
    min: fc.integer({ min: 1, max: 4 }),
    extra: fc.integer({ min: 0, max: 4 }),
    priority: fc.integer({ min: 0, max: 2 }),
    queue: fc.constantFrom(...queueNames),
    cpu: fc.constantFrom(1, 1, 2),
  })
  .map(({ extra, ...job }) => ({ ...job, max: job.min + extra }));
