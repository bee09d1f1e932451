/** A state kept by changes against fresh ones, on random worlds. */
import { deepEqual, ok } from "node:assert/strict";
import { test } from "node:test";
import { type Job, type JobFact, next, whyIllegal } from "@coxswain/domain";
import fc from "fast-check";
import { decidePlacement } from "./decide-placement.ts";
import { KeptState } from "./kept-state.ts";
import { anyJob, anyQueues } from "./property-testing.ts";
import {
  type Decision,
  defaultPolicy,
  type NodeView,
  type QueueView,
  type ServiceView,
} from "./snapshot.ts";
import { applyAll, type JobInput, jobOf, snapshotOf } from "./testing.ts";

type Change =
  | { readonly kind: "submit"; readonly job: JobInput }
  | { readonly kind: "node"; readonly which: number; readonly cpu: number | undefined }
  | { readonly kind: "service"; readonly replicas: number | undefined }
  | { readonly kind: "queues"; readonly queues: QueueView[] }
  | { readonly kind: "freeze"; readonly freezeMs: number }
  | { readonly kind: "wanted"; readonly which: number; readonly workers: number }
  | { readonly kind: "finish" | "lose" | "progress" | "suspend"; readonly which: number }
  | { readonly kind: "nothing" };

const which = fc.nat(20);
const anyChange: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 5,
    arbitrary: fc
      .tuple(anyJob, fc.option(fc.constantFrom(1, 5), { nil: undefined }))
      .map(([job, timeLimit]) => ({
        kind: "submit" as const,
        job: timeLimit === undefined ? job : { ...job, timeLimit },
      })),
  },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant("node" as const),
      which: fc.nat(3),
      // Cores; 0 is a node that falls silent, undefined one that is taken away.
      cpu: fc.option(fc.nat(8), { nil: undefined }),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("service" as const),
      replicas: fc.option(fc.nat(5), { nil: undefined }),
    }),
  },
  { weight: 1, arbitrary: anyQueues.map((queues) => ({ kind: "queues" as const, queues })) },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("freeze" as const),
      freezeMs: fc.constantFrom(0, 5000, 10_000),
    }),
  },
  {
    weight: 1,
    arbitrary: fc.record({
      kind: fc.constant("wanted" as const),
      which,
      workers: fc.integer({ min: 1, max: 8 }),
    }),
  },
  {
    weight: 4,
    arbitrary: fc.record({
      kind: fc.constantFrom("finish" as const, "lose" as const, "progress" as const, "suspend"),
      which,
    }),
  },
  { weight: 1, arbitrary: fc.constant({ kind: "nothing" as const }) },
);

/** A cluster under changes: its jobs told to a state that lasts, the rest seen when it decides. */
class World {
  readonly state = new KeptState();
  nowMs = 1_000_000;
  #jobs: Job[] = [];
  readonly #cores: (number | undefined)[] = [4, 4, 4, 4];
  #queues: QueueView[];
  #policy = defaultPolicy;
  #service: ServiceView | undefined;
  #sequence = 10_000;

  constructor(queues: QueueView[]) {
    this.#queues = queues;
  }

  #look() {
    const nodes: NodeView[] = snapshotOf(
      this.#cores.map((cpu) => cpu ?? 0),
      [],
    ).nodes.filter((_, index) => this.#cores[index] !== undefined);
    const services = this.#service === undefined ? [] : [this.#service];
    return { nodes, queues: this.#queues, services, policy: this.#policy };
  }

  decideKept(): Decision[] {
    return this.state.decide(this.#look(), this.nowMs);
  }

  decideFresh(): Decision[] {
    const nowMs = this.state.notBefore(this.nowMs);
    return decidePlacement({ nowMs, jobs: this.#jobs, ...this.#look() });
  }

  change(change: Change): void {
    switch (change.kind) {
      case "submit":
        this.#jobs.push(jobOf(change.job, this.#jobs.length));
        return this.state.setJob(this.#jobs.at(-1)!);
      case "node":
        this.#cores[change.which] = change.cpu;
        return;
      case "service": {
        const { replicas } = change;
        const spec = { replicas: replicas ?? 0, resources: { cpu: 1, memory: 64, gpu: 0 } };
        const { reserved } = this.#service ?? { reserved: {} };
        this.#service = replicas === undefined ? undefined : { name: "web", spec, reserved };
        return;
      }
      case "queues":
        this.#queues = change.queues;
        return;
      case "freeze":
        this.#policy = { freezeMs: change.freezeMs };
        return;
      case "nothing":
        return;
      default:
        this.#changeJob(change);
    }
  }

  #changeJob(change: Extract<Change, { readonly which: number }>): void {
    const job = this.#jobs[change.which];
    if (job === undefined || job.placement.length === 0) return;
    this.#sequence += 1;
    const common = { jobId: job.id, sequence: this.#sequence, timeMs: this.nowMs };
    const fact = factOf(change, job);
    if (whyIllegal(job, fact.name) !== undefined) return;
    this.#set(next(job, { ...common, ...fact } as JobFact));
  }

  #set(job: Job): void {
    this.#jobs = this.#jobs.map((one) => (one.id === job.id ? job : one));
    this.state.setJob(job);
  }

  apply(decisions: readonly Decision[]): void {
    this.#sequence += 1;
    for (const decision of decisions)
      if (decision.kind === "reserve" && this.#service !== undefined) {
        const { reserved, missing } = decision;
        this.#service = { ...this.#service, reserved, missing };
      }
    for (const job of this.#jobs) {
      const after = applyAll(job, decisions, this.#sequence, this.nowMs);
      if (after !== job) this.#set(after);
    }
  }
}

function factOf(
  change: Extract<Change, { readonly which: number }>,
  job: Job,
): Pick<JobFact, "name" | "payload"> {
  const error = { code: "worker-failed", message: "gone" };
  if (change.kind === "finish") return { name: "job.failed", payload: { error } };
  if (change.kind === "suspend") return { name: "job.suspend-requested", payload: {} };
  if (change.kind === "lose")
    return { name: "worker.lost", payload: { workerId: job.placement[0]!.workerId, error } };
  if (change.kind === "wanted")
    return { name: "job.workers-wanted", payload: { workersWanted: change.workers } };
  const stepTo = (job.progress?.step ?? 0) + 1;
  const pace = { samplesPerSecond: 64, stepMs: 1000 };
  return {
    name: "training.progressed",
    payload: { stepTo, steps: 10, epoch: 0, ...pace, metrics: {} },
  };
}

test("a state kept by changes decides as a fresh one, whatever has happened to it", () => {
  let decided = 0;
  const anyMoment = fc.record({
    change: anyChange,
    // A clock may be set back; a job's limit passes, and so does the freeze window.
    elapsedMs: fc.constantFrom(-900, 0, 700, 700, 4000, 12_000),
    isApplied: fc.boolean(),
  });
  fc.assert(
    fc.property(
      anyQueues,
      fc.array(anyMoment, { minLength: 5, maxLength: 30 }),
      (queues, moments) => {
        const world = new World(queues);
        for (const { change, elapsedMs, isApplied } of moments) {
          world.nowMs += elapsedMs;
          world.change(change);
          const kept = world.decideKept();
          deepEqual(kept, world.decideFresh());
          deepEqual(kept, world.decideKept(), "deciding changes nothing");
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
