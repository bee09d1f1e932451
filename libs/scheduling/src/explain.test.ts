/** Why a job waits and what would start it; what was seen, and decisions made again. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { createHash } from "node:crypto";
import { test } from "node:test";
import type { JobFact } from "@coxswain/domain";
import { decidePlacement } from "./decide-placement.ts";
import { explain } from "./explain.ts";
import { type DecisionRecord, foldLook, type Look, noLook, recordsOf } from "./look.ts";
import { replay } from "./replay.ts";
import type { NodeView, Snapshot } from "./snapshot.ts";
import { engine, type JobInput, jobOf, snapshotOf } from "./testing.ts";

const gpuNode = (gpu: number): NodeView => ({
  nodeId: "n0",
  capacity: { cpu: 8, memoryMib: 10_000, gpu, gpuMemoryMib: gpu * 16_384 },
  engines: [engine],
  isAlive: true,
});
const quota = (cpu: number) => [
  {
    name: "a",
    spec: {
      weight: 1,
      strategy: "BestEffortFIFO" as const,
      isStopped: false,
      nominalQuota: { cpu },
    },
  },
];

interface Case {
  readonly cores: readonly number[];
  readonly jobs: readonly JobInput[];
  readonly more?: Partial<Snapshot>;
  /** Of the last job. */
  readonly want: readonly string[];
}

const cases: Record<string, Case> = {
  "a gang that is too large": {
    cores: [2],
    jobs: [{ min: 4, max: 4 }],
    want: [
      "WaitingForRoom",
      "2 workers instead of 4",
      "2 cores more on node n0",
      "2 more nodes of 1 cores, 64 MiB",
    ],
  },
  "one more GPU of 16 GB": {
    cores: [],
    more: { nodes: [gpuNode(1)] },
    jobs: [{ min: 2, max: 2, gpu: 1, gpuMemory: 16_384 }],
    want: [
      "WaitingForRoom",
      "1 worker instead of 2",
      "1 GPUs of 16384 MiB more on node n0",
      "1 more nodes of 1 GPUs of 16384 MiB, 1 cores, 64 MiB",
    ],
  },
  "a queue's quota": {
    cores: [8],
    more: { queues: quota(2) },
    jobs: [
      { min: 2, max: 2, queue: "a", has: ["n0", "n0"] },
      { min: 1, max: 1, queue: "a" },
    ],
    want: [
      "WaitingForQuota",
      "queue a: quota +1 cpu",
      "priority 1",
      "job j0 suspended or preempted",
    ],
  },
  "somebody else's room": {
    cores: [2],
    jobs: [
      { min: 2, max: 2, has: ["n0", "n0"], priority: 3 },
      { min: 1, max: 1 },
    ],
    want: [
      "WaitingForRoom",
      "1 cores more on node n0",
      "1 more nodes of 1 cores, 64 MiB",
      "priority 4",
      "job j0 suspended or preempted",
    ],
  },
};

for (const [name, { cores, jobs, more = {}, want }] of Object.entries(cases)) {
  test(`explain: ${name}`, () => {
    const all = jobs.map(jobOf);
    const { reason, changes, position } = explain(snapshotOf(cores, all, more), all.at(-1)!);
    deepEqual([reason, ...changes.map(({ text }) => text)], want);
    equal(position, 1);
  });
}

test("explain: a job that the next look starts says so, one that runs has nothing to say", () => {
  const waits = jobOf({ min: 1, max: 1 }, 0);
  equal(explain(snapshotOf([1], [waits]), waits).isStarting, true);
  const runs = jobOf({ min: 1, max: 1, has: ["n0"] }, 0);
  deepEqual(explain(snapshotOf([1], [runs]), runs), { jobId: "j0", state: "running", changes: [] });
});

const lookOf = (cores: readonly number[]): Look => ({
  ...noLook,
  nodes: snapshotOf(cores, []).nodes,
});

test("a look is what its records say, whole at first, then what changed", () => {
  const looks = [lookOf([1, 2]), lookOf([1, 2]), lookOf([3]), lookOf(Array(250).fill(1))];
  let before: Look | undefined;
  let seen = noLook;
  const counts = looks.map((look) => {
    const records = recordsOf(before, look, 1);
    for (const record of records) seen = foldLook(seen, record);
    deepEqual(seen.nodes, look.nodes);
    before = look;
    return records.length;
  });
  deepEqual(counts, [1, 0, 1, 3]);
});

test("recorded decisions are made again; one that was altered is found", () => {
  const hashOf = (text: string) => createHash("sha256").update(text).digest("hex");
  const { spec } = jobOf({ min: 1, max: 1 }, 0);
  const job = {
    apiVersion: "coxswain.dev/v1" as const,
    kind: "TrainingJob" as const,
    metadata: { name: "j" },
    spec,
  };
  const facts: JobFact[] = [
    { name: "job.submitted", jobId: "j", sequence: 1, timeMs: 0, payload: { job } },
  ];
  const look = lookOf([1]);
  const submitted = jobOf({ min: 1, max: 1 }, 0);
  const decisions = decidePlacement({
    nowMs: 5,
    jobs: [{ ...submitted, id: "j", name: "j" }],
    ...look,
  });
  equal(decisions.length, 1);
  const decided = {
    kind: "decided",
    epoch: 1,
    nowMs: 5,
    sequence: 1,
    count: 1,
    sha256: hashOf(JSON.stringify(decisions)),
  } as const;
  const records: DecisionRecord[] = [decided, ...recordsOf(undefined, look, 1), decided];
  deepEqual(replay(facts, records, hashOf), {
    cycles: 1,
    decisions: 1,
    skipped: 1,
    different: [],
  });
  const altered = [...records.slice(0, 2), { ...decided, sha256: hashOf("[]") }];
  ok(replay(facts, altered, hashOf).different.length === 1);
});
