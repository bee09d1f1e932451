/** What must hold for all clusters, queues and jobs, tried on random ones. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { type Job, next, type QueueSpec } from "@coxswain/domain";
import fc from "fast-check";
import type { ClusterState } from "./cluster-state.ts";
import { coveredOf } from "./cover.ts";
import { decideCycle } from "./decide-cycle.ts";
import { decidePlacement, stateOf } from "./decide-placement.ts";
import { byImportance, type Decision, type QueueView, type ServiceView } from "./snapshot.ts";
import { applyAll, type JobInput, jobOf, snapshotOf } from "./testing.ts";
import { quotaUnits } from "./vector.ts";

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

const anyQueues: fc.Arbitrary<QueueView[]> = fc
  .tuple(anyQueue, anyQueue, anyQueue)
  .map((specs) => specs.map((spec, index) => ({ name: queueNames[index]!, spec })));

const anyJob: fc.Arbitrary<JobInput> = fc
  .record({
    min: fc.integer({ min: 1, max: 4 }),
    extra: fc.integer({ min: 0, max: 4 }),
    priority: fc.integer({ min: 0, max: 2 }),
    queue: fc.constantFrom(...queueNames),
    cpu: fc.constantFrom(1, 1, 2),
  })
  .map(({ extra, ...job }) => ({ ...job, max: job.min + extra }));

const anyCores = fc.array(fc.integer({ min: 0, max: 8 }), { minLength: 1, maxLength: 4 });

const cpuOf = (job: Job) => job.placement.length * job.spec.resources.cpu;

/** Nobody uses more than the rules for queues and cohorts allow. */
function checkQuotas(queues: readonly QueueView[], jobs: readonly Job[]): void {
  const usedBy = (name: string) =>
    jobs.filter(({ spec }) => spec.queue === name).reduce((total, job) => total + cpuOf(job), 0);
  for (const { name, spec } of queues) {
    const nominal = spec.nominalQuota?.cpu;
    if (nominal === undefined) continue;
    const limit =
      spec.cohort === undefined ? nominal : nominal + (spec.borrowingLimit?.cpu ?? Infinity);
    ok(usedBy(name) <= limit, `queue ${name} uses ${usedBy(name)} of ${limit}`);
  }
  for (const cohort of ["x", "y"]) {
    const members = queues.filter(
      ({ spec }) => spec.cohort === cohort && spec.nominalQuota?.cpu !== undefined,
    );
    const keptOf = ({ spec }: QueueView) =>
      spec.nominalQuota!.cpu! -
      Math.min(spec.nominalQuota!.cpu!, spec.lendingLimit?.cpu ?? Infinity);
    const shared = members.reduce(
      (total, view) => total + view.spec.nominalQuota!.cpu! - keptOf(view),
      0,
    );
    const used = members.reduce(
      (total, view) => total + Math.max(0, usedBy(view.name) - keptOf(view)),
      0,
    );
    ok(used <= shared, `cohort ${cohort} shares ${used} of ${shared}`);
  }
}

/**
 * A 1 for each job, in order of importance, that is placed and covered by its queue's own quota, and
 * behind that a 1 for each that is placed (cover.ts): every preemption makes this word greater.
 */
function potentialOf(queues: readonly QueueView[], jobs: readonly Job[]): string {
  const inOrder = jobs.toSorted(byImportance);
  const placed = inOrder.filter(({ placement }) => placement.length > 0);
  const covered = new Set(
    queues.flatMap(({ name, spec }) => [
      ...coveredOf(
        placed.filter((job) => job.spec.queue === name),
        quotaUnits(spec.nominalQuota, Number.POSITIVE_INFINITY),
      ),
    ]),
  );
  const bit = (isSet: boolean) => (isSet ? "1" : "0");
  return (
    inOrder.map(({ id }) => bit(covered.has(id))).join("") +
    inOrder.map((job) => bit(placed.includes(job))).join("")
  );
}

const roundsMax = 60;

test("with any quotas preemption never loops: a potential strictly rises, and decisions come to rest", () => {
  let preemptions = 0;
  fc.assert(
    fc.property(
      anyCores,
      anyQueues,
      fc.array(anyJob, { minLength: 1, maxLength: 9 }),
      (cores, queues, inputs) => {
        let jobs: Job[] = [];
        let sequence = 0;
        let decisions: Decision[] = [];
        for (let round = 0; round < roundsMax; round += 1) {
          // Jobs come one after the other, so that late and important ones find the room taken.
          if (jobs.length < inputs.length)
            jobs = [...jobs, jobOf(inputs[jobs.length]!, jobs.length)];
          const before = potentialOf(queues, jobs);
          decisions = decidePlacement(snapshotOf(cores, jobs, { queues, nowMs: 1e6 + sequence }));
          sequence += 1;
          jobs = jobs.map((job) => applyAll(job, decisions, round));
          const evicted = decisions.filter(({ kind }) => kind === "preempt").length;
          preemptions += evicted;
          if (evicted > 0) ok(potentialOf(queues, jobs) > before, "the potential rises");
          checkQuotas(queues, jobs);
          for (const job of jobs)
            ok(job.placement.length === 0 || job.placement.length >= job.spec.workers.min);
          if (decisions.length === 0 && jobs.length === inputs.length) return;
        }
        deepEqual(decisions, [], "decisions come to rest");
      },
    ),
    { numRuns: 500 },
  );
  ok(preemptions > 50, `${preemptions} preemptions were tried`);
});

test("no wedge: in one cycle a gang starts wherever room may be taken for it", () => {
  let started = 0;
  fc.assert(
    fc.property(anyCores, fc.array(anyJob, { maxLength: 6 }), anyJob, (cores, inputs, late) => {
      // One core each and no quota: then room may be counted.
      const plain = (input: JobInput) => ({ ...input, cpu: 1, queue: "default" });
      let jobs = inputs.map((input, index) => jobOf(plain(input), index));
      for (let round = 0; round < 20; round += 1) {
        const decisions = decidePlacement(snapshotOf(cores, jobs));
        if (decisions.length === 0) break;
        jobs = jobs.map((job) => applyAll(job, decisions, round));
      }
      const job = jobOf(plain(late), 99);
      const { priority, workers } = job.spec;
      const all = cores.reduce((total, one) => total + one, 0);
      const protectedCores = jobs.reduce((total, { placement, spec }) => {
        if (spec.priority < priority) return total;
        if (spec.priority > priority) return total + placement.length;
        return total + Math.min(placement.length, spec.workers.min);
      }, 0);
      const decisions = decidePlacement(snapshotOf(cores, [...jobs, job]));
      const own = decisions.find((one) => one.kind !== "reserve" && one.jobId === job.id)!;
      const isPossible = all - protectedCores >= workers.min;
      equal(own.kind, isPossible ? "place" : "queue");
      if (isPossible) started += 1;
      else ok(own.kind === "queue" && own.message.length > 10, "a wait has a reason");
    }),
    { numRuns: 500 },
  );
  ok(started > 100);
});

type Change =
  | { readonly kind: "submit"; readonly job: JobInput }
  | { readonly kind: "finish"; readonly which: number }
  | { readonly kind: "node"; readonly which: number; readonly cpu: number }
  | { readonly kind: "service"; readonly replicas: number }
  | { readonly kind: "queues"; readonly queues: QueueView[] }
  | { readonly kind: "wanted"; readonly which: number; readonly workers: number }
  | { readonly kind: "lose"; readonly which: number }
  | { readonly kind: "nothing" };

const anyChange: fc.Arbitrary<Change> = fc.oneof(
  { weight: 5, arbitrary: anyJob.map((job) => ({ kind: "submit" as const, job })) },
  { weight: 2, arbitrary: fc.nat(20).map((which) => ({ kind: "finish" as const, which })) },
  {
    weight: 2,
    arbitrary: fc
      .tuple(fc.nat(3), fc.nat(8))
      .map(([which, cpu]) => ({ kind: "node" as const, which, cpu })),
  },
  { weight: 1, arbitrary: fc.nat(5).map((replicas) => ({ kind: "service" as const, replicas })) },
  { weight: 1, arbitrary: anyQueues.map((queues) => ({ kind: "queues" as const, queues })) },
  {
    weight: 1,
    arbitrary: fc
      .tuple(fc.nat(20), fc.integer({ min: 1, max: 8 }))
      .map(([which, workers]) => ({ kind: "wanted" as const, which, workers })),
  },
  { weight: 1, arbitrary: fc.nat(20).map((which) => ({ kind: "lose" as const, which })) },
  { weight: 1, arbitrary: fc.constant({ kind: "nothing" as const }) },
);

/** A cluster under changes, told to a state that lasts; and the same as plain snapshots. */
class World {
  readonly state: ClusterState = stateOf(snapshotOf([], []));
  jobs: Job[] = [];
  cores = [4, 4, 4, 4];
  queues: QueueView[] = [];
  service: ServiceView = {
    name: "web",
    spec: { replicas: 0, resources: { cpu: 1, memory: 64, gpu: 0 } },
    reserved: {},
  };
  nowMs = 1_000_000;
  #sequence = 10_000;

  constructor(queues: QueueView[]) {
    this.queues = queues;
    this.state.setQueues(queues);
    this.state.setService(this.service);
    for (const node of this.snapshot().nodes) this.state.setNode(node);
  }

  snapshot() {
    return snapshotOf(this.cores, this.jobs, {
      nowMs: this.nowMs,
      queues: this.queues,
      services: [this.service],
    });
  }

  change(change: Change): void {
    this.nowMs += 700;
    switch (change.kind) {
      case "submit":
        this.jobs.push(jobOf(change.job, this.jobs.length));
        return this.state.setJob(this.jobs.at(-1)!);
      case "node":
        this.cores[change.which] = change.cpu;
        return this.state.setNode(this.snapshot().nodes[change.which]!);
      case "service": {
        const spec = { ...this.service.spec, replicas: change.replicas };
        this.service = { ...this.service, spec };
        return this.state.setService(this.service);
      }
      case "queues":
        this.queues = change.queues;
        return this.state.setQueues(this.queues);
      case "nothing":
        return;
      default:
        this.#changeJob(change);
    }
  }

  #changeJob(change: Extract<Change, { readonly which: number }>): void {
    const job = this.jobs[change.which];
    if (job === undefined || job.placement.length === 0) return;
    this.#sequence += 1;
    const common = { jobId: job.id, sequence: this.#sequence, timeMs: this.nowMs };
    const { workerId } = job.placement[0]!;
    const error = { code: "worker-failed", message: "gone" };
    if (change.kind === "finish")
      this.#set(next(job, { ...common, name: "job.failed", payload: { error } }));
    else if (change.kind === "lose")
      this.#set(next(job, { ...common, name: "worker.lost", payload: { workerId, error } }));
    else if (change.kind === "wanted")
      this.#set(
        next(job, {
          ...common,
          name: "job.workers-wanted",
          payload: { workersWanted: change.workers },
        }),
      );
  }

  #set(job: Job): void {
    this.jobs = this.jobs.map((one) => (one.id === job.id ? job : one));
    this.state.setJob(job);
  }

  apply(decisions: readonly Decision[]): void {
    this.#sequence += 1;
    for (const decision of decisions)
      if (decision.kind === "reserve") {
        const { reserved, missing } = decision;
        this.service = { ...this.service, reserved, missing };
        this.state.setService(this.service);
      }
    for (const job of this.jobs) {
      const after = applyAll(job, decisions, this.#sequence);
      if (after !== job) this.#set(after);
    }
  }
}

test("a state kept by changes decides as a fresh one, whatever has happened to it", () => {
  let decided = 0;
  fc.assert(
    fc.property(
      anyQueues,
      fc.array(fc.tuple(anyChange, fc.boolean()), { minLength: 5, maxLength: 30 }),
      (queues, changes) => {
        const world = new World(queues);
        for (const [change, isApplied] of changes) {
          world.change(change);
          const kept = decideCycle(world.state, world.nowMs);
          deepEqual(kept, decidePlacement(world.snapshot()));
          deepEqual(kept, decideCycle(world.state, world.nowMs), "deciding changes nothing");
          decided += kept.length;
          // Sometimes nobody carries the decisions out before the next look.
          if (isApplied) world.apply(kept);
        }
      },
    ),
    { numRuns: 400 },
  );
  ok(decided > 1000);
});
