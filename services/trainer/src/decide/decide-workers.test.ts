import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import { decideWorkers, type WorkersInput } from "./decide-workers.ts";

interface Case {
  readonly wanted?: readonly string[];
  /** Wanted no more, as their job stops. */
  readonly leaving?: readonly string[];
  /** Workers by id; a number is when the worker was asked to leave. */
  readonly running?: Readonly<Record<string, number | undefined>>;
  readonly used?: readonly string[];
  readonly workersMax?: number;
  readonly want: readonly string[];
}

const cases: Record<string, Case> = {
  "a wanted worker is started": { wanted: ["a"], want: ["start a"] },
  "a running one is left alone": { wanted: ["a"], running: { a: undefined }, want: [] },
  "an id is used once": { wanted: ["a"], used: ["a"], want: [] },
  "who is not wanted is asked to leave": { running: { a: undefined }, want: ["ask-to-leave a"] },
  "who was asked gets time": { running: { a: 900 }, want: [] },
  "who does not leave is killed": { running: { a: 100 }, want: ["kill a"] },
  "leaving goes before starting": {
    wanted: ["b"],
    running: { a: undefined },
    want: ["ask-to-leave a", "start b"],
  },
  "who leaves and never started is told to have left": {
    leaving: ["a", "b", "c"],
    running: { b: undefined },
    used: ["c"],
    want: ["ask-to-leave b", "tell-left a"],
  },
  "a full node starts nobody": {
    wanted: ["a", "b"],
    running: { a: undefined },
    workersMax: 1,
    want: [],
  },
};

for (const [
  name,
  { wanted = [], leaving = [], running = {}, used = [], workersMax = 64, want },
] of Object.entries(cases)) {
  test(name, () => {
    const input: WorkersInput<{ readonly workerId: string; readonly isLeaving?: boolean }> = {
      nowMs: 1000,
      leaveTimeoutMs: 500,
      wanted: [
        ...wanted.map((workerId) => ({ workerId })),
        ...leaving.map((workerId) => ({ workerId, isLeaving: true })),
      ],
      running: Object.entries(running).map(([workerId, askedToLeaveAtMs]) => ({
        workerId,
        jobId: "j",
        askedToLeaveAtMs,
      })),
      used: new Set(used),
      workersMax,
    };
    deepEqual(
      decideWorkers(input).map(
        (action) =>
          `${action.kind} ${"wanted" in action ? action.wanted.workerId : action.workerId}`,
      ),
      want,
    );
  });
}

type GpuCase = readonly [
  gpus: readonly string[] | undefined,
  running: Readonly<Record<string, readonly string[]>>,
  wanted: Readonly<Record<string, number>>,
  want: readonly string[],
];
const gpuCases: Record<string, GpuCase> = {
  "each worker gets GPUs of its own": [
    ["g0", "g1", "g2"],
    {},
    { a: 1, b: 2 },
    ["start a: g0", "start b: g1 g2"],
  ],
  "those of others are not given away": [["g0", "g1"], { a: ["g0"] }, { b: 1 }, ["start b: g1"]],
  "a worker that asks for none gets none": [
    ["g0"],
    {},
    { a: 0, b: 1 },
    ["start a: ", "start b: g0"],
  ],
  "one whose GPU is not free yet is held back, the next one is not": [
    ["g0"],
    { a: ["g0"] },
    { b: 1, c: 0 },
    ["hold-back b", "start c: "],
  ],
  "GPUs that are not known are not given out": [undefined, {}, { a: 1 }, ["start a: "]],
};
for (const [name, [gpus, running, wanted, want]] of Object.entries(gpuCases))
  test(name, () => {
    const ids = Object.keys(running);
    const actions = decideWorkers({
      nowMs: 1000,
      leaveTimeoutMs: 500,
      wanted: [
        ...ids.map((workerId) => ({ workerId, resources: { gpu: 1 } })),
        ...Object.entries(wanted).map(([workerId, gpu]) => ({ workerId, resources: { gpu } })),
      ],
      running: ids.map((workerId) => ({
        ...{ workerId, jobId: "j", askedToLeaveAtMs: undefined },
        gpus: running[workerId]!,
      })),
      used: new Set(),
      workersMax: 64,
      gpus,
    });
    const brief = actions.map((action) => {
      const id = "wanted" in action ? action.wanted.workerId : action.workerId;
      return `${action.kind} ${id}${action.kind === "start" ? `: ${action.gpus.join(" ")}` : ""}`;
    });
    deepEqual(brief, want);
  });
