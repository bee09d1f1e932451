import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { next } from "@coxswain/domain";
import fc from "fast-check";
import { decidePlacement } from "./decide-placement.ts";
import type { Decision } from "./snapshot.ts";
import { applyAll, brief, type JobInput, jobOf, snapshotOf } from "./testing.ts";

const cases: Record<
  string,
  {
    readonly cores: readonly number[];
    readonly jobs: readonly JobInput[];
    readonly want: readonly string[];
  }
> = {
  "without nodes a job waits for nodes": {
    cores: [],
    jobs: [{ min: 1, max: 1 }],
    want: ["j0: WaitingForNodes"],
  },
  "a dead node counts for nothing": {
    cores: [0],
    jobs: [{ min: 1, max: 1 }],
    want: ["j0: WaitingForNodes"],
  },
  "a waiting job gets its minimum first": {
    cores: [4],
    jobs: [{ min: 2, max: 4 }],
    want: ["j0: n0 n0"],
  },
  "a gang takes all or nothing": {
    cores: [2],
    jobs: [{ min: 3, max: 3 }],
    want: ["j0: WaitingForRoom"],
  },
  "a gang may span nodes": { cores: [1, 2], jobs: [{ min: 3, max: 3 }], want: ["j0: n0 n1 n1"] },
  "the fullest node that fits is taken": {
    cores: [4, 1],
    jobs: [{ min: 1, max: 1 }],
    want: ["j0: n1"],
  },
  "a node that has less than was given away: who may shrink does": {
    cores: [3],
    jobs: [
      { min: 1, max: 1, has: ["n0"] },
      { min: 1, max: 3, has: ["n0", "n0", "n0"] },
    ],
    want: ["j1: n0 n0"],
  },
  "what two schedulers gave away at once: the later placement gives way": {
    cores: [2],
    jobs: [
      { min: 2, max: 2, has: ["n0", "n0"] },
      { min: 1, max: 1, has: ["n0"] },
    ],
    want: ["j1: preempt"],
  },
  "a gang that cannot shrink moves a worker where there is room": {
    cores: [1, 2],
    jobs: [{ min: 2, max: 2, has: ["n0", "n0"] }],
    want: ["j0: n0 n1"],
  },
  "the lower priority gives way before the later": {
    cores: [1],
    jobs: [
      { min: 1, max: 1, has: ["n0"] },
      { min: 1, max: 1, has: ["n0"], priority: 5 },
    ],
    want: ["j0: preempt"],
  },
  "the older job goes first": {
    cores: [2],
    jobs: [
      { min: 2, max: 2 },
      { min: 1, max: 1 },
    ],
    want: ["j0: n0 n0", "j1: WaitingForRoom"],
  },
  "the higher priority goes before the older": {
    cores: [1],
    jobs: [
      { min: 1, max: 1 },
      { min: 1, max: 1, priority: 5 },
    ],
    want: ["j1: n0", "j0: WaitingForRoom"],
  },
  "a small job passes one that does not fit": {
    cores: [2],
    jobs: [
      { min: 3, max: 3 },
      { min: 1, max: 1 },
    ],
    want: ["j1: n0", "j0: WaitingForRoom"],
  },
  "a running job grows to its maximum": {
    cores: [4],
    jobs: [{ min: 1, max: 3, has: ["n0"] }],
    want: ["j0: n0 n0 n0"],
  },
  "a job that is only placed does not grow yet": {
    cores: [4],
    jobs: [{ min: 1, max: 3, has: ["n0"], isRunning: false }],
    want: [],
  },
  "two running jobs share what is left": {
    cores: [6],
    jobs: [
      { min: 1, max: 9, has: ["n0"] },
      { min: 1, max: 9, has: ["n0"] },
    ],
    want: ["j0: n0 n0 n0", "j1: n0 n0 n0"],
  },
  "a waiting gang goes before growth": {
    cores: [3],
    jobs: [
      { min: 1, max: 3, has: ["n0"] },
      { min: 2, max: 2 },
    ],
    want: ["j1: n0 n0"],
  },
  "workers that stand by come after the gang, and where nobody else wants the room": {
    cores: [4],
    jobs: [
      { min: 2, max: 2, standby: 2, has: ["n0", "n0"] },
      { min: 1, max: 1 },
    ],
    want: ["j0: n0 n0 n0", "j1: n0"],
  },
  "a job starts without those that shall stand by": {
    cores: [2],
    jobs: [{ min: 2, max: 2, standby: 1 }],
    want: ["j0: n0 n0"],
  },
  "nobody is evicted, and nobody shrinks, for workers that would stand by": {
    cores: [3],
    jobs: [
      { min: 1, max: 2, has: ["n0", "n0"] },
      { min: 1, max: 1, standby: 1, priority: 9, has: ["n0"] },
    ],
    want: [],
  },
  "who stands by makes room for a worker that trains": {
    cores: [4],
    jobs: [
      { min: 1, max: 2, standby: 1, has: ["n0", "n0", "n0"], training: 2 },
      { min: 1, max: 2, has: ["n0"] },
    ],
    want: ["j0: n0 n0", "j1: n0 n0"],
  },
  "one that was used is replaced": {
    cores: [3],
    jobs: [{ min: 2, max: 2, standby: 1, has: ["n0", "n0"] }],
    want: ["j0: n0 n0 n0"],
  },
  "a job that has what it wants is left alone": {
    cores: [4],
    jobs: [{ min: 1, max: 2, has: ["n0", "n0"] }],
    want: [],
  },
  "workers on a lost node are replaced": {
    cores: [0, 2],
    jobs: [{ min: 1, max: 2, has: ["n0", "n1"] }],
    want: ["j0: n1 n1"],
  },
  "a lower priority shrinks before anybody is evicted": {
    cores: [3],
    jobs: [
      { min: 1, max: 3, has: ["n0", "n0", "n0"] },
      { min: 2, max: 2, priority: 1 },
    ],
    want: ["j0: n0", "j1: n0 n0"],
  },
  "a lower priority is evicted where shrinking is not enough": {
    cores: [2],
    jobs: [
      { min: 2, max: 2, has: ["n0", "n0"] },
      { min: 2, max: 2, priority: 1 },
    ],
    want: ["j0: preempt", "j1: n0 n0"],
  },
  "nobody is evicted in vain": {
    cores: [2],
    jobs: [
      { min: 2, max: 2, has: ["n0", "n0"] },
      { min: 3, max: 3, priority: 1 },
    ],
    want: ["j1: WaitingForRoom"],
  },
  "the same priority is never preempted": {
    cores: [2],
    jobs: [
      { min: 2, max: 2, has: ["n0", "n0"] },
      { min: 2, max: 2 },
    ],
    want: ["j1: WaitingForRoom"],
  },
};

for (const [name, { cores, jobs, want }] of Object.entries(cases)) {
  test(name, () => deepEqual(decidePlacement(snapshotOf(cores, jobs.map(jobOf))).map(brief), want));
}

test("a wait says with numbers what lacks", () => {
  const [decision] = decidePlacement(snapshotOf([2], [jobOf({ min: 3, max: 3 }, 0)]));
  ok(decision?.kind === "queue");
  deepEqual(
    decision.message,
    "It needs 3 workers of 1 cores, 64 MiB at once; there is room for 2.",
  );
});

test("a stopping job ends when nobody is left", () => {
  const job = next(jobOf({ min: 1, max: 1 }, 0), {
    name: "job.suspend-requested",
    jobId: "j0",
    sequence: 300,
    timeMs: 1,
    payload: {},
  });
  deepEqual(decidePlacement(snapshotOf([1], [job])), [
    { kind: "end", jobId: "j0", how: "suspended" },
  ]);
});

test("a stopping job does not wait for workers on a lost node", () => {
  const job = next(jobOf({ min: 2, max: 2, has: ["n0", "n1"] }, 0), {
    name: "job.suspend-requested",
    jobId: "j0",
    sequence: 300,
    timeMs: 1,
    payload: {},
  });
  deepEqual(decidePlacement(snapshotOf([1, 1], [job])), []);
  const [decision] = decidePlacement(snapshotOf([1], [job]));
  ok(decision?.kind === "place");
  const [stays, lost] = job.placement;
  deepEqual([decision.workers, decision.declaredDead], [[stays], [lost!.workerId]]);
});

test("a job that its program failed is failed with the first error", () => {
  const error = { code: "program-threw", message: "boom", workerId: "w1" };
  const job = next(jobOf({ min: 1, max: 1, has: ["n0"] }, 0), {
    name: "training.failed",
    jobId: "j0",
    sequence: 300,
    timeMs: 1,
    payload: { error },
  });
  deepEqual(decidePlacement(snapshotOf([1], [job])), [
    { kind: "fail", jobId: "j0", code: "program-threw", message: "boom", workerId: "w1" },
  ]);
});

const anyJob = fc.record({
  min: fc.integer({ min: 1, max: 4 }),
  extra: fc.integer({ min: 0, max: 4 }),
  priority: fc.integer({ min: 0, max: 3 }),
});

test("room is never overbooked, gangs are whole, and repeating comes to rest", () => {
  fc.assert(
    fc.property(
      fc.array(fc.integer({ min: 0, max: 6 }), { maxLength: 4 }),
      fc.array(anyJob, { maxLength: 6 }),
      (cores, inputs) => {
        let jobs = inputs.map(({ min, extra, priority }, index) =>
          jobOf({ min, max: min + extra, priority }, index),
        );
        let decisions: Decision[] = [];
        for (let round = 0; round < 12; round += 1) {
          decisions = decidePlacement(snapshotOf(cores, jobs));
          deepEqual(
            decisions,
            decidePlacement(snapshotOf(cores, jobs)),
            "the same snapshot, the same decisions",
          );
          jobs = jobs.map((job) => applyAll(job, decisions, round));
          for (const [index, cpu] of cores.entries()) {
            const used = jobs
              .flatMap(({ placement }) => placement)
              .filter(({ nodeId }) => nodeId === `n${index}`).length;
            ok(used <= cpu, `n${index} holds ${used} of ${cpu}`);
          }
          for (const job of jobs)
            ok(
              job.placement.length === 0 || job.placement.length >= job.spec.workers.min,
              `${job.id} holds less than its gang`,
            );
          if (decisions.length === 0) return;
        }
        deepEqual(decisions, [], "decisions come to rest");
      },
    ),
    { numRuns: 300 },
  );
});

test("a job that is scaled down gives up one that trains, a job that yields one that stands by", () => {
  const [trains, standsBy] = ["j0-1", "j0-2"];
  const given = { min: 1, max: 2, standby: 1, has: ["n0", "n0", "n0"], training: 2 };
  const scaled = { ...jobOf(given, 0), workersWanted: 1 };
  const [place] = decidePlacement(snapshotOf([3], [scaled]));
  deepEqual(place?.kind === "place" && place.workers.map(({ workerId }) => workerId), [
    "j0-0",
    standsBy,
  ]);
  const yields = jobOf(given, 0);
  const gang = jobOf({ min: 1, max: 1, priority: 1 }, 1);
  const decisions = decidePlacement(snapshotOf([3], [yields, gang]));
  const kept = decisions.find((one) => one.kind === "place" && one.jobId === "j0");
  deepEqual(kept?.kind === "place" && kept.workers.map(({ workerId }) => workerId), [
    "j0-0",
    trains,
  ]);
});

test("a closed node gives up nobody, whatever it says that it has, and takes nobody", () => {
  const jobs = [
    { min: 2, max: 3, has: ["n0", "n0"] },
    { min: 1, max: 1 },
  ].map(jobOf);
  const open = snapshotOf([1], jobs);
  const closed = {
    ...open,
    nodes: open.nodes.map((node) => ({ ...node, isClosed: true as const })),
  };
  deepEqual(decidePlacement(closed).map(brief), ["j1: WaitingForRoom"]);
  ok(decidePlacement(open).map(brief).includes("j0: preempt"));
});
