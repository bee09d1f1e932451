import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { decidePlacement, type NodeView, type Snapshot } from "@coxswain/scheduling";
import fc from "fast-check";
import {
  type Costs,
  measuredCosts,
  queuedJob,
  type Scenario,
  type SimulatedJob,
  type SimulatedNode,
  simulate,
} from "./index.ts";

/** Round numbers, to calculate with. */
const costs: Costs = {
  startMs: [1000, 1000],
  stopMs: 0,
  changePauseMs: 100,
  nodeTimeoutMs: 5000,
  checkpointEveryMs: 10_000,
};

function nodeOf(id: number, cpu: number, more: Partial<SimulatedNode> = {}): SimulatedNode {
  const node: NodeView = {
    nodeId: `n${id}`,
    capacity: { cpu, memoryMib: 65_536, gpu: 0 },
    engines: [{ name: "native", identity: "native-1" }],
    isAlive: true,
  };
  return { node, ...more };
}

interface Ask {
  readonly min: number;
  readonly max: number;
  readonly units?: number;
  readonly arrivesAtMs?: number;
  readonly priority?: number;
}

/** Each worker does one unit a second. */
function jobOf(index: number, ask: Ask): SimulatedJob {
  const { min, max, units = 100, arrivesAtMs = 0, priority = 0 } = ask;
  const spec = { workers: { min, max }, priority };
  return {
    job: queuedJob({ id: `j${index}`, atMs: arrivesAtMs, sequence: index, spec }),
    arrivesAtMs,
    work: { units, unitsPerSecond: (workers) => workers },
  };
}

function scenarioOf(nodes: readonly SimulatedNode[], jobs: readonly SimulatedJob[]): Scenario {
  return {
    nodes,
    jobs,
    costs,
    seed: 1,
    untilMs: 1_000_000,
    lookEveryMs: 1000,
  };
}

const endsOf = (scenario: Scenario) =>
  Object.fromEntries(
    simulate(scenario).timeline.flatMap((entry) =>
      entry.kind === "ended" ? [[entry.jobId, entry.atMs]] : [],
    ),
  );

const stories: Record<string, { scenario: Scenario; ends: Record<string, number> }> = {
  "100 units with 2 workers, 1 s after the start": {
    scenario: scenarioOf([nodeOf(0, 2)], [jobOf(0, { min: 2, max: 2 })]),
    ends: { j0: 51_000 },
  },
  "a job starts with its minimum and grows when it runs: one pause": {
    scenario: scenarioOf([nodeOf(0, 2)], [jobOf(0, { min: 1, max: 2 })]),
    // 1 s start, 1 s with one worker, 0.1 s pause, 99 units with two.
    ends: { j0: 1000 + 1000 + 100 + 49_500 },
  },
  "the second of two jobs waits for the first": {
    scenario: scenarioOf(
      [nodeOf(0, 2)],
      [jobOf(0, { min: 2, max: 2 }), jobOf(1, { min: 2, max: 2 })],
    ),
    ends: { j0: 51_000, j1: 102_000 },
  },
  "a node that comes later starts a job": {
    scenario: scenarioOf(
      [nodeOf(0, 2, { arrivesAtMs: 7000 })],
      [jobOf(0, { min: 2, max: 2, units: 10 })],
    ),
    ends: { j0: 13_000 },
  },
  "a lost node: the other worker goes on, a new one replaces it after the time-out": {
    scenario: scenarioOf(
      [nodeOf(0, 1), nodeOf(1, 1, { lostAtMs: 11_000 }), nodeOf(2, 1, { arrivesAtMs: 11_000 })],
      [jobOf(0, { min: 2, max: 2 })],
    ),
    // 20 units until 11 s; pause; 4.9 + 1 units alone until 17 s; pause; 74.1 units with two.
    ends: { j0: 17_100 + 37_050 },
  },
  "all workers lost: back to the newest checkpoint": {
    scenario: scenarioOf(
      [nodeOf(0, 1, { lostAtMs: 16_000 }), nodeOf(1, 1, { arrivesAtMs: 16_000 })],
      [jobOf(0, { min: 1, max: 1, units: 30 })],
    ),
    // 15 units until 16 s, of which 10 are kept; noticed at 21 s, started at 22 s.
    ends: { j0: 22_000 + 20_000 },
  },
};

for (const [name, { scenario, ends }] of Object.entries(stories))
  test(name, () => deepEqual(endsOf(scenario), ends));

test("a job of higher priority takes the room; what it displaced goes on where it was", () => {
  const low = jobOf(0, { min: 2, max: 2, units: 40 });
  const high = jobOf(1, { min: 2, max: 2, units: 20, arrivesAtMs: 11_000, priority: 10 });
  // 20 units until 11 s; the other one from 12 s to 22 s; started again at 23 s.
  deepEqual(endsOf(scenarioOf([nodeOf(0, 2)], [low, high])), { j0: 33_000, j1: 22_000 });
});

test("an online service gets its room at once: a job shrinks for it, and grows back afterwards", () => {
  const elastic = jobOf(0, { min: 1, max: 4, units: 1e6 });
  const demand = [
    { atMs: 30_000, replicas: 3 },
    { atMs: 60_000, replicas: 0 },
  ];
  const resources = { cpu: 1, memory: 1024, gpu: 0 };
  const { timeline } = simulate({
    ...scenarioOf([nodeOf(0, 4)], [elastic]),
    services: [{ name: "web", resources, demand }],
    costs: { ...costs, stopMs: 500 },
    untilMs: 120_000,
  });
  const trains = (fromMs: number) =>
    timeline.findLast((entry) => entry.kind === "trains" && entry.atMs < fromMs);
  const serves = timeline.filter(({ kind, atMs }) => kind === "serves" && atMs > 30_000);
  const brief = (entry: (typeof timeline)[number] | undefined) =>
    entry !== undefined && "workers" in entry ? [entry.atMs, entry.workers] : undefined;
  deepEqual(brief(trains(30_000))?.[1], 4);
  deepEqual(brief(trains(60_000)), [30_000, 1]);
  deepEqual(serves[0], { atMs: 31_500, kind: "serves", service: "web", replicas: 3 });
  deepEqual(brief(trains(120_000))?.[1], 4);
});

const worlds = fc
  .record({
    cpus: fc.array(fc.integer({ min: 1, max: 6 }), { minLength: 1, maxLength: 5 }),
    asks: fc.array(
      fc.record({
        min: fc.integer({ min: 1, max: 4 }),
        extra: fc.integer({ min: 0, max: 4 }),
        units: fc.integer({ min: 1, max: 200 }),
        arrivesAtMs: fc.integer({ min: 0, max: 60_000 }),
        priority: fc.integer({ min: 0, max: 2 }),
      }),
      { minLength: 1, maxLength: 8 },
    ),
    lostAtMs: fc.option(fc.integer({ min: 0, max: 60_000 }), { nil: undefined }),
    seed: fc.integer({ min: 0, max: 1000 }),
  })
  .map(({ cpus, asks, lostAtMs, seed }) => {
    const nodes = cpus.map((cpu, id) =>
      nodeOf(id, cpu, id === 0 && lostAtMs !== undefined ? { lostAtMs } : {}),
    );
    const jobs = asks.map(({ min, extra, ...ask }, index) =>
      jobOf(index, { ...ask, min, max: min + extra }),
    );
    return { ...scenarioOf(nodes, jobs), seed, costs: measuredCosts };
  });

/** What each node's workers need, against what it has. */
function overfull({ nodes, jobs }: Snapshot): string[] {
  return nodes
    .filter(({ nodeId, capacity }) => {
      const used = jobs
        .flatMap(({ placement, spec }) => placement.map((worker) => ({ ...worker, spec })))
        .filter((worker) => worker.nodeId === nodeId)
        .reduce((sum, { spec }) => sum + spec.resources.cpu, 0);
      return used > capacity.cpu;
    })
    .map(({ nodeId }) => nodeId);
}

test("no node ever holds more than it has, and no job more than its maximum", () => {
  fc.assert(
    fc.property(worlds, (world) => {
      const decide = (snapshot: Snapshot) => {
        deepEqual(overfull(snapshot), []);
        for (const { placement, spec } of snapshot.jobs) ok(placement.length <= spec.workers.max);
        return decidePlacement(snapshot);
      };
      simulate({ ...world, decide });
    }),
    { numRuns: 60 },
  );
});

test("no work is lost or invented: an ended job has done its units, and no job more", () => {
  fc.assert(
    fc.property(worlds, (world) => {
      const { jobs, unitsDone } = simulate(world);
      for (const { job, work } of world.jobs) {
        const done = unitsDone.get(job.id)!;
        ok(done <= work.units);
        const hasEnded = jobs.get(job.id)!.state.kind === "succeeded";
        equal(hasEnded, done === work.units, job.id);
      }
    }),
    { numRuns: 60 },
  );
});

test("the same scenario has the same timeline; another seed has other start-up delays", () => {
  fc.assert(
    fc.property(worlds, (world) => {
      deepEqual(simulate(world).timeline, simulate(world).timeline);
    }),
    { numRuns: 20 },
  );
  const world = { ...stories["the second of two jobs waits for the first"]!.scenario };
  const ends = (seed: number) => endsOf({ ...world, seed, costs: measuredCosts })["j1"];
  ok(ends(1) !== ends(2));
});
