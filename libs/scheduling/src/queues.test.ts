/** Queues, quotas, node constraints, services and sharing, as tables. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { type Job, next, type QueueSpec } from "@coxswain/domain";
import { decidePlacement } from "./decide-placement.ts";
import type { NodeView, QueueView, ServiceView } from "./snapshot.ts";
import { applyAll, brief, engine, type JobInput, jobOf, snapshotOf } from "./testing.ts";

const queue = (name: string, spec: Partial<QueueSpec>): QueueView => ({
  name,
  spec: { weight: 1, strategy: "BestEffortFIFO", isStopped: false, ...spec },
});
const node = (nodeId: string, more: Partial<NodeView>): NodeView => ({
  nodeId,
  capacity: { cpu: 8, memoryMib: 10_000, gpu: 0 },
  engines: [engine],
  isAlive: true,
  ...more,
});
const web = (replicas: number, reserved: Record<string, number> = {}): ServiceView => ({
  name: "web",
  spec: { replicas, resources: { cpu: 1, memory: 64, gpu: 0 } },
  reserved,
});
const webOf = (cpu: number, replicas: number): ServiceView => ({
  ...web(replicas),
  spec: { replicas, resources: { cpu, memory: 64, gpu: 0 } },
});

interface Case {
  readonly cores?: readonly number[];
  readonly nodes?: readonly NodeView[];
  readonly queues?: readonly QueueView[];
  readonly services?: readonly ServiceView[];
  readonly jobs: readonly JobInput[];
  readonly want: readonly string[];
}

const borrower = { min: 3, max: 3, queue: "a", has: ["n0", "n0", "n0"] };
const cases: Record<string, Case> = {
  "a queue's quota holds although the nodes have room": {
    cores: [8],
    queues: [queue("a", { nominalQuota: { cpu: 2 } })],
    jobs: [
      { min: 2, max: 2, queue: "a" },
      { min: 1, max: 1, queue: "a" },
    ],
    want: ["j0: n0 n0", "j1: WaitingForQuota"],
  },
  "growth stops at the quota": {
    cores: [8],
    queues: [queue("a", { nominalQuota: { cpu: 3 } })],
    jobs: [{ min: 1, max: 8, queue: "a", has: ["n0"] }],
    want: ["j0: n0 n0 n0"],
  },
  "what can never be used is said at once": {
    cores: [8],
    queues: [queue("a", { nominalQuota: { cpu: 2 } })],
    jobs: [{ min: 3, max: 3, queue: "a" }],
    want: ["j0: ExceedsMaxQuota"],
  },
  "a cohort lends what others do not use": {
    cores: [8],
    queues: [
      queue("a", { cohort: "x", nominalQuota: { cpu: 2 } }),
      queue("b", { cohort: "x", nominalQuota: { cpu: 2 } }),
    ],
    jobs: [{ min: 4, max: 4, queue: "a" }],
    want: ["j0: n0 n0 n0 n0"],
  },
  "a borrowing limit holds": {
    cores: [8],
    queues: [
      queue("a", { cohort: "x", nominalQuota: { cpu: 2 }, borrowingLimit: { cpu: 1 } }),
      queue("b", { cohort: "x", nominalQuota: { cpu: 2 } }),
    ],
    jobs: [{ min: 4, max: 4, queue: "a" }],
    want: ["j0: ExceedsMaxQuota"],
  },
  "a lending limit holds": {
    cores: [8],
    queues: [
      queue("a", { cohort: "x", nominalQuota: { cpu: 2 } }),
      queue("b", { cohort: "x", nominalQuota: { cpu: 2 }, lendingLimit: { cpu: 1 } }),
    ],
    jobs: [{ min: 4, max: 4, queue: "a" }],
    want: ["j0: ExceedsMaxQuota"],
  },
  "who lent gets it back, whatever the priority": {
    cores: [8],
    queues: [
      queue("a", { cohort: "x", nominalQuota: { cpu: 2 } }),
      queue("b", { cohort: "x", nominalQuota: { cpu: 2 } }),
    ],
    jobs: [
      { ...borrower, priority: 5 },
      { min: 2, max: 2, queue: "b" },
    ],
    want: ["j0: preempt", "j1: n0 n0"],
  },
  "who borrows evicts nobody that is within its quota": {
    cores: [8],
    queues: [
      queue("a", { cohort: "x", nominalQuota: { cpu: 3 } }),
      queue("b", { cohort: "x", nominalQuota: { cpu: 1 } }),
    ],
    jobs: [borrower, { min: 2, max: 2, queue: "b", priority: 5 }],
    want: ["j1: WaitingForQuota"],
  },
  "in a strict queue nobody passes the first": {
    cores: [4],
    queues: [queue("a", { strategy: "StrictFIFO" })],
    jobs: [
      { min: 5, max: 5, queue: "a" },
      { min: 1, max: 1, queue: "a" },
      { min: 1, max: 1 },
    ],
    want: ["j2: n0", "j0: WaitingForRoom", "j1: WaitingForQueueHead"],
  },
  "a stopped queue starts nothing": {
    cores: [4],
    queues: [queue("a", { isStopped: true })],
    jobs: [{ min: 1, max: 1, queue: "a" }],
    want: ["j0: OnHold"],
  },
  "a queue that nobody configured is a mistake": {
    cores: [4],
    jobs: [{ min: 1, max: 1, queue: "typo" }],
    want: ["j0: Misconfigured"],
  },
  "the queue with the smaller weighted share goes first": {
    cores: [4],
    queues: [queue("a", { weight: 2 }), queue("b", {})],
    jobs: [
      { min: 1, max: 1, queue: "a", has: ["n0"] },
      { min: 1, max: 1, queue: "b", has: ["n0"] },
      { min: 2, max: 2, queue: "b" },
      { min: 2, max: 2, queue: "a" },
    ],
    want: ["j3: n0 n0", "j2: WaitingForRoom"],
  },
  "a selector finds its node": {
    nodes: [node("n0", {}), node("n1", { labels: { disk: "fast" } })],
    jobs: [{ min: 1, max: 1, selector: { disk: "fast" } }],
    want: ["j0: n1"],
  },
  "a selector without a node is said": {
    nodes: [node("n0", {})],
    jobs: [{ min: 1, max: 1, selector: { disk: "fast" } }],
    want: ["j0: NoMatchingNodes"],
  },
  "each GPU has the memory that is asked for": {
    nodes: [
      node("n0", { capacity: { cpu: 8, memoryMib: 9000, gpu: 2, gpuMemoryMib: 16_384 } }),
      node("n1", { capacity: { cpu: 8, memoryMib: 9000, gpu: 1, gpuMemoryMib: 16_384 } }),
    ],
    jobs: [{ min: 1, max: 1, gpu: 1, gpuMemory: 16_384 }],
    want: ["j0: n1"],
  },
  "who needs no GPU leaves them to others": {
    nodes: [
      node("n0", { capacity: { cpu: 2, memoryMib: 9000, gpu: 1 } }),
      node("n1", { capacity: { cpu: 8, memoryMib: 9000, gpu: 0 } }),
    ],
    jobs: [{ min: 1, max: 1 }],
    want: ["j0: n1"],
  },
  "no node is large enough": {
    cores: [4, 4],
    jobs: [{ min: 1, max: 1, cpu: 6 }],
    want: ["j0: WaitingForNodes"],
  },
  "an online service takes free room first": {
    cores: [4],
    services: [web(2)],
    jobs: [{ min: 1, max: 3, has: ["n0"] }],
    want: ["j0: n0 n0", 'web: {"n0":2} missing 0'],
  },
  "jobs shrink for a service, the largest first": {
    cores: [6],
    services: [web(2)],
    jobs: [
      { min: 1, max: 4, has: ["n0", "n0"], priority: 1 },
      { min: 1, max: 4, has: ["n0", "n0", "n0", "n0"], priority: 1 },
    ],
    want: ["j1: n0 n0", 'web: {"n0":2} missing 0'],
  },
  "a job is evicted for a service where shrinking is not enough": {
    cores: [3],
    services: [web(2)],
    jobs: [
      { min: 1, max: 1, has: ["n0"], priority: 1 },
      { min: 2, max: 2, has: ["n0", "n0"] },
    ],
    want: ["j1: preempt", 'web: {"n0":2} missing 0'],
  },
  "a service that finds no room is told so": {
    cores: [2],
    services: [web(3)],
    jobs: [],
    want: ['web: {"n0":2} missing 1'],
  },
  "a service gives room back, and a job grows": {
    cores: [4],
    services: [web(1, { n0: 3 })],
    jobs: [{ min: 1, max: 4, has: ["n0"] }],
    want: ["j0: n0 n0 n0", 'web: {"n0":1} missing 0'],
  },
  "a waiting gang takes back what an equal one has beyond its minimum": {
    cores: [6],
    jobs: [
      { min: 2, max: 6, has: ["n0", "n0", "n0", "n0", "n0", "n0"] },
      { min: 2, max: 6 },
    ],
    want: ["j0: n0 n0 n0 n0", "j1: n0 n0"],
  },
  "equal jobs come to sizes of which none is less than half of another": {
    cores: [8],
    jobs: [
      { min: 1, max: 8, has: ["n0", "n0", "n0", "n0", "n0", "n0"] },
      { min: 1, max: 8, has: ["n0", "n0"] },
    ],
    want: ["j0: n0 n0 n0 n0 n0", "j1: n0 n0 n0"],
  },
  "who has more than half of another's takes nothing": {
    cores: [17],
    jobs: [
      { min: 1, max: 17, has: Array(11).fill("n0") },
      { min: 1, max: 17, has: Array(6).fill("n0") },
    ],
    want: [],
  },
  "the worker goes whose going makes room for most": {
    cores: [12, 10],
    services: [webOf(3, 2)],
    jobs: [{ min: 1, max: 4, cpu: 5, has: ["n0", "n0", "n1", "n1"] }],
    want: ["j0: n0 n1 n1", 'web: {"n0":2} missing 0'],
  },
  "those that would go after it count": {
    cores: [11.6, 21.6, 11.6],
    jobs: [
      { min: 1, max: 8, cpu: 5, has: ["n1", "n1", "n1", "n1", "n0", "n0", "n2", "n2"] },
      { min: 4, max: 4, cpu: 4.1 },
    ],
    want: ["j0: n1 n0 n0 n2 n2", "j1: n1 n1 n1 n1"],
  },
  "the worker goes that is where the newcomer may be": {
    nodes: [node("n0", { labels: { disk: "fast" } }), node("n1", {})],
    jobs: [
      { min: 1, max: 2, cpu: 8, has: ["n0", "n1"] },
      { min: 1, max: 1, selector: { disk: "fast" } },
    ],
    want: ["j0: n1", "j1: n0"],
  },
};

for (const [name, { cores = [], nodes, queues = [], services = [], jobs, want }] of Object.entries(
  cases,
)) {
  test(name, () => {
    const more = { queues, services, ...(nodes === undefined ? {} : { nodes }) };
    deepEqual(decidePlacement(snapshotOf(cores, jobs.map(jobOf), more)).map(brief), want);
  });
}

test("the youngest checkpoint is evicted first: it loses the least work", () => {
  const victims = [0, 1].map((index) => jobOf({ min: 1, max: 1, has: ["n0"] }, index));
  const progressed = victims.map((job, index) => {
    const common = { jobId: job.id, sequence: 300 + index, timeMs: 1 };
    const progress = { stepTo: 100, steps: 200, epoch: 1, samplesPerSecond: 1, stepMs: 10 };
    const after = next(job, {
      ...common,
      name: "training.progressed",
      payload: { ...progress, generation: 1, metrics: {} },
    } as never);
    const path = { path: "p", bytes: 1, sha256: "s", weightsSha256: "w", final: false };
    return next(after, {
      ...common,
      name: "checkpoint.committed",
      payload: { generation: 1, step: index === 0 ? 99 : 50, ...path },
    });
  });
  const urgent = jobOf({ min: 1, max: 1, priority: 9 }, 5);
  deepEqual(decidePlacement(snapshotOf([2], [...progressed, urgent])).map(brief), [
    "j0: preempt",
    "j5: n0",
  ]);
});

test("a freeze window bounds churn: who gave room away grows again only after it", () => {
  const job = jobOf({ min: 1, max: 3, has: ["n0", "n0", "n0"] }, 0);
  const shrunk = decidePlacement(snapshotOf([3], [job], { services: [web(1)] }));
  deepEqual(shrunk.map(brief), ["j0: n0 n0", 'web: {"n0":1} missing 0']);
  const after = applyAll(job, shrunk, 1);
  const givenBack = { services: [web(0, { n0: 1 })] };
  const at = (nowMs: number) =>
    decidePlacement(snapshotOf([3], [after], { ...givenBack, nowMs })).map(brief);
  const release = "web: {} missing 0";
  deepEqual(at(after.shrunkAtMs! + 9_999), [release]);
  deepEqual(at(after.shrunkAtMs! + 10_000), ["j0: n0 n0 n0", release]);
});

test("while jobs come one after the other a job at most doubles, unless it is alone", () => {
  const first = { min: 1, max: 8, has: ["n0", "n0"] };
  const at = (nowMs: number, jobs: readonly Job[]) =>
    decidePlacement(snapshotOf([16], jobs, { nowMs })).map(brief);
  const eight = Array(8).fill("n0").join(" ");
  deepEqual(at(5000, [jobOf(first, 0)]), [`j0: ${eight}`]);
  const both = [jobOf(first, 0), jobOf({ min: 1, max: 8, has: ["n0"] }, 9000)];
  deepEqual(at(9500, both), []);
  // A freeze window after its own change, with the other still new.
  deepEqual(at(12_000, both), ["j0: n0 n0 n0 n0"]);
  deepEqual(at(19_000, both), [`j0: ${eight}`, `j9000: ${eight}`]);
});

test("the same decision on the same state has the same worker ids", () => {
  const look = () => decidePlacement(snapshotOf([4], [jobOf({ min: 2, max: 2 }, 0)]));
  const [decision] = look();
  ok(decision?.kind === "place");
  deepEqual(
    decision.workers.map(({ workerId }) => workerId),
    ["w1-0", "w1-1"],
  );
  deepEqual(look(), [decision]);
});

test("a wait is said once, until its reason changes", () => {
  const job = jobOf({ min: 3, max: 3 }, 0);
  const said = decidePlacement(snapshotOf([2], [job]));
  equal(said.length, 1);
  const told = applyAll(job, said, 1);
  deepEqual(decidePlacement(snapshotOf([1], [told])), []);
  deepEqual(decidePlacement(snapshotOf([], [told])).map(brief), ["j0: WaitingForNodes"]);
});
