import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { Entry } from "@coxswain/sim";
import { departuresOf } from "./departures.ts";
import { caseOne, caseTwo, clusterNodes } from "./experiment.ts";
import { figuresOf, jainIndex, onlineFiguresOf } from "./metrics.ts";
import { runOriginal } from "./original.ts";
import {
  decideParallelism,
  type ElasticJob,
  eligibleJobs,
  fulfillment,
  type Inventory,
  sortedJobs,
} from "./original-autoscaler.ts";
import { runOurs } from "./ours.ts";

const defects = { addsToIdleNode: true, excludesPartlyRunning: true };
const none = { addsToIdleNode: false, excludesPartlyRunning: false };

function jobOf(name: string, more: Partial<ElasticJob> = {}): ElasticJob {
  const parallelism = more.parallelism ?? 2;
  const pods = { total: parallelism, running: parallelism, pending: 0 };
  return { name, min: 1, max: 4, parallelism, cpu: 1, memoryMib: 100, gpu: 0, pods, ...more };
}

function inventoryOf(more: Partial<Inventory> = {}): Inventory {
  return {
    cpuTotal: 100,
    cpuRequested: 10,
    memoryTotalMib: 10_000,
    memoryRequestedMib: 100,
    gpuTotal: 10,
    gpuLimit: 0,
    nodes: [{ cpuIdle: 90, memoryIdleMib: 9900 }],
    ...more,
  };
}

interface Case {
  readonly jobs: readonly ElasticJob[];
  readonly inventory?: Partial<Inventory>;
  readonly load?: number;
  readonly fixed?: true;
  readonly want: Record<string, number>;
}

/** The behaviours that the original's own unit tests name. */
const cases: Record<string, Case> = {
  "a job grows to its maximum": { jobs: [jobOf("a")], want: { a: 4 } },
  "a satisfied job keeps its trainers": { jobs: [jobOf("a", { parallelism: 4 })], want: {} },
  "one more processor, one more trainer": {
    jobs: [jobOf("a")],
    inventory: { cpuRequested: 99 },
    want: { a: 3 },
  },
  "no more processors": { jobs: [jobOf("a")], inventory: { cpuRequested: 100 }, want: {} },
  "no more memory": { jobs: [jobOf("a")], inventory: { memoryRequestedMib: 9950 }, want: {} },
  "one more GPU": { jobs: [jobOf("a", { gpu: 1 })], inventory: { gpuLimit: 9 }, want: { a: 3 } },
  "no more GPUs": { jobs: [jobOf("a", { gpu: 1 })], inventory: { gpuLimit: 10 }, want: {} },
  "no single node has the room": {
    jobs: [jobOf("a")],
    inventory: { nodes: [{ cpuIdle: 0.9, memoryIdleMib: 9900 }] },
    want: {},
  },
  "more than its maximum: down to it": { jobs: [jobOf("a", { parallelism: 6 })], want: { a: 4 } },
  "a full cluster: down to the minimum": {
    jobs: [jobOf("a", { parallelism: 3 })],
    inventory: { cpuRequested: 110 },
    want: { a: 1 },
  },
  "too many GPUs: down": {
    jobs: [jobOf("a", { parallelism: 3, gpu: 1 })],
    inventory: { gpuLimit: 11 },
    want: { a: 2 },
  },
  "the threshold counts, not the whole": {
    jobs: [jobOf("a")],
    inventory: { cpuRequested: 96 },
    load: 0.97,
    want: { a: 3 },
  },
  "what is left is dealt in turn": {
    jobs: [jobOf("a", { max: 9 }), jobOf("b", { max: 9 })],
    inventory: { cpuRequested: 96 },
    want: { a: 4, b: 4 },
  },
  "defect: a placed trainer makes room on its node": {
    jobs: [jobOf("a")],
    inventory: { nodes: [{ cpuIdle: 1, memoryIdleMib: 9900 }] },
    want: { a: 4 },
  },
  "without the defect one fits where one fits": {
    jobs: [jobOf("a")],
    inventory: { nodes: [{ cpuIdle: 1, memoryIdleMib: 9900 }] },
    fixed: true,
    want: { a: 3 },
  },
};

for (const [name, { jobs, inventory, load = 1, fixed, want }] of Object.entries(cases))
  test(`original: ${name}`, () => {
    const rules = { maxLoadDesired: load, defects: fixed ? none : defects };
    const found = decideParallelism(jobs, inventoryOf(inventory), rules);
    deepEqual(Object.fromEntries(found), want);
  });

test("original: the least fulfilled stands first, then who needs less", () => {
  equal(fulfillment(jobOf("a", { min: 2, max: 2 })), 1);
  const jobs = [
    jobOf("full", { parallelism: 4 }),
    jobOf("gpu", { gpu: 1 }),
    jobOf("large", { cpu: 2 }),
    jobOf("small"),
    jobOf("rigid", { min: 4, max: 4 }),
  ];
  deepEqual(
    sortedJobs(jobs).map(({ name }) => name),
    ["small", "large", "gpu", "full"],
  );
});

test("original: one pod that cannot run excludes its job, until some job has none that runs", () => {
  const stuck = jobOf("stuck", { pods: { total: 2, running: 1, pending: 1 } });
  const waiting = jobOf("waiting", { pods: { total: 2, running: 0, pending: 2 } });
  const names = (jobs: readonly ElasticJob[]) => jobs.map(({ name }) => name);
  deepEqual(names(eligibleJobs([jobOf("a"), stuck], defects)), ["a"]);
  deepEqual(names(eligibleJobs([jobOf("a"), stuck, waiting], defects)), ["a", "stuck", "waiting"]);
  deepEqual(names(eligibleJobs([jobOf("a"), stuck], none)), ["a", "stuck"]);
});

test("the cluster has the published size", () => {
  const nodes = clusterNodes(1);
  equal(nodes.length, 133);
  equal(
    nodes.reduce((sum, { cpu }) => sum + cpu, 0),
    2348,
  );
});

test("Jain's index: 1 for equal shares, 1/n when one has all", () => {
  equal(jainIndex([3, 3, 3]), 1);
  equal(jainIndex([6, 0, 0]), 1 / 3);
});

test("without its autoscaler the original is as published: 14 jobs wait; 44.6 % at the trough", () => {
  const one = figuresOf(runOriginal(caseOne, undefined, 1));
  equal(one.pendingAtEnd, 14);
  ok(Math.abs(one.trainersStable - 347) <= 3, `${one.trainersStable}`);
  ok(Math.abs(one.utilizationStable - 88.7) <= 1.5, `${one.utilizationStable}`);
  const two = runOriginal(caseTwo, undefined, 1);
  const at = (second: number) => (100 * two.samples[second]!.cpuUsed) / two.cpuTotal;
  deepEqual(
    [105, 195, 290, 380].map((second) => at(second).toFixed(1)),
    ["82.9", "70.1", "57.3", "44.6"],
  );
  equal(onlineFiguresOf(two).gone, 0);
});

test("ours: all 20 jobs train within 10 s, together or not at all, and share equally", () => {
  const figures = figuresOf(runOurs(caseOne, "as the original", 1));
  equal(figures.neverStarted, 0);
  equal(figures.pseudoRunning, 0);
  ok(figures.pendingSecondsMean <= 10, `${figures.pendingSecondsMean}`);
  ok(figures.jain >= 0.95, `${figures.jain}`);
});

test("ours: the online service gets its pods back within 15 s of each step", () => {
  const figures = onlineFiguresOf(runOurs(caseTwo, "as the original", 1));
  ok(figures.onlineShortfallPercent <= 2, `${figures.onlineShortfallPercent}`);
  ok(figures.restoreSecondsMax !== null && figures.restoreSecondsMax <= 15);
});

test("who is told to go leaves, whoever ends without that was killed, who never trained did neither", () => {
  const placed = { kind: "placed", workers: 0, added: 0, reason: "" } as const;
  const timeline: Entry[] = [
    { atMs: 1, kind: "trains", jobId: "a", workers: 6 },
    { ...placed, atMs: 5, jobId: "a", removed: 2 },
    { atMs: 5, kind: "trains", jobId: "a", workers: 5 },
    // One of the two had not started; later two are lost with their node.
    { atMs: 9, kind: "trains", jobId: "a", workers: 3 },
    { atMs: 10, kind: "preempted", jobId: "a", by: "b" },
    { atMs: 10, kind: "trains", jobId: "a", workers: 0 },
    { atMs: 11, kind: "trains", jobId: "other", workers: 1 },
    { atMs: 12, kind: "trains", jobId: "other", workers: 0 },
  ];
  deepEqual(
    departuresOf(timeline, (jobId) => jobId === "a"),
    { left: 4, killed: 2 },
  );
});
