/** What is simulated: machines, jobs and what they cost, plain data with times of one virtual clock. */
import type { Job, Resources } from "@coxswain/domain";
import type { Decision, NodeView, Policy, QueueView, Snapshot } from "@coxswain/scheduling";

export interface SimulatedNode {
  readonly node: NodeView;
  /** Absent: there from the start. */
  readonly arrivesAtMs?: number;
  /** When it falls silent with all its workers; absent: never. */
  readonly lostAtMs?: number;
}

/** How a job progresses. Units are steps, or whatever `unitsPerSecond` counts. */
export interface Work {
  /** Infinity: trains until the end of the simulation. */
  readonly units: number;
  /** What is done already, for a job that runs when the simulation begins. */
  readonly unitsDone?: number;
  /** Speed with so many workers, >= 0. */
  readonly unitsPerSecond: (workers: number) => number;
}

export interface SimulatedJob {
  /** As it is when it arrives: mostly queued (`queuedJob`), or running on its placement. */
  readonly job: Job;
  readonly arrivesAtMs: number;
  readonly work: Work;
}

/** An online service: how many replicas it asks for from a time on. */
export interface SimulatedService {
  readonly name: string;
  readonly resources: Resources;
  readonly demand: readonly { readonly atMs: number; readonly replicas: number }[];
}

/** What a change costs, in virtual time. */
export interface Costs {
  /** From a worker's placement until it can compute, between these two, evenly. */
  readonly startMs: readonly [number, number];
  /** From being told to go until a worker's room is really free; until then nobody starts there. */
  readonly stopMs: number;
  /** The whole group pauses so long when its members change. */
  readonly changePauseMs: number;
  /** From a node's last sign of life until the scheduler counts it as gone. */
  readonly nodeTimeoutMs: number;
  /** When the last worker of a job is lost, so much of the newest work is done again, at most. */
  readonly checkpointEveryMs: number;
}

/** Measured on one machine with small models (docs/benchmarks.md, recovery and platform). */
export const measuredCosts: Costs = {
  startMs: [600, 1000],
  stopMs: 500,
  changePauseMs: 92,
  nodeTimeoutMs: 5000,
  checkpointEveryMs: 60_000,
};

export interface Scenario {
  readonly nodes: readonly SimulatedNode[];
  readonly jobs: readonly SimulatedJob[];
  readonly services?: readonly SimulatedService[];
  readonly queues?: readonly QueueView[];
  readonly policy?: Policy;
  readonly costs: Costs;
  /** Of the start-up delays; the same seed gives the same timeline. */
  readonly seed: number;
  readonly beginMs?: number;
  /** The simulation ends here, or when nothing more can happen. */
  readonly untilMs: number;
  /** A look at least so often while a job waits or changes, besides the one after each event. */
  readonly lookEveryMs?: number;
  /** Absent: the real decisions, in their incremental form. */
  readonly decide?: Decide;
}

/** Other decisions, for comparison, or a look over the shoulder of the real ones. */
export type Decide = (snapshot: Snapshot) => readonly Decision[];

/** What happened, in order. */
export type Entry = { readonly atMs: number } & (
  | { readonly kind: "arrived" | "ended"; readonly jobId: string }
  | { readonly kind: "waits"; readonly jobId: string; readonly reason: string }
  | {
      readonly kind: "placed";
      readonly jobId: string;
      readonly workers: number;
      readonly added: number;
      readonly removed: number;
      readonly reason: string;
    }
  /** Workers that compute from now on, after the pause of the change. */
  | { readonly kind: "trains"; readonly jobId: string; readonly workers: number }
  | { readonly kind: "preempted"; readonly jobId: string; readonly by: string }
  /** The room that is kept for a service, in replicas; `missing` found none. */
  | {
      readonly kind: "reserved";
      readonly service: string;
      readonly replicas: number;
      readonly missing: number;
    }
  /** Replicas of a service that have started. */
  | { readonly kind: "serves"; readonly service: string; readonly replicas: number }
  | { readonly kind: "node-arrived" | "node-lost"; readonly nodeId: string }
);

export interface Outcome {
  readonly endedAtMs: number;
  readonly timeline: readonly Entry[];
  /** As they were at the end. */
  readonly jobs: ReadonlyMap<string, Job>;
  /** Units done, by job. */
  readonly unitsDone: ReadonlyMap<string, number>;
  readonly looks: number;
}
