/**
 * The two experiments of PaddlePaddle EDL (PaddlePaddle/cloud, doc/edl/experiment, November 2017) as
 * its scripts and raw logs show them. Times in seconds.
 *
 * The mix of node sizes is unpublished. This one gives the published 133 nodes and 2,348 cores, and
 * the plateau of the runs without autoscaling; it is an assumption.
 */

import { seeded } from "../../lib/numbers.ts";
import type { Departures } from "./departures.ts";

export interface Shape {
  readonly cpu: number;
  readonly memoryMib: number;
}

const gib = 1024;
const memoryMib = 98_000;

/** The idle base load of each node: 2.1 % of the cluster. */
export const baseLoadCpu = 0.38;

export const nodeSizes = [
  { cpu: 12, count: 67 },
  { cpu: 22, count: 20 },
  { cpu: 24, count: 46 },
] as const;

/** In an order of its own for each pass: nothing shall depend on which nodes come first. */
export function clusterNodes(seed: number): Shape[] {
  const sizes = nodeSizes.flatMap(({ cpu, count }) => Array<number>(count).fill(cpu));
  const random = seeded(seed);
  for (let last = sizes.length - 1; last > 0; last -= 1) {
    const other = Math.floor(random() * (last + 1));
    [sizes[last], sizes[other]] = [sizes[other]!, sizes[last]!];
  }
  return sizes.map((cpu) => ({ cpu, memoryMib }));
}

export const shapes = {
  master: { cpu: 1, memoryMib: 300 },
  pserver: { cpu: 4, memoryMib: 5 * gib },
  trainer: { cpu: 5, memoryMib: 8 * gib },
  nginx: { cpu: 3, memoryMib: 3 * gib },
} as const satisfies Record<string, Shape>;

export const pserversPerJob = 10;

/** A parameter server as ours places it: with its part of the job's master. */
export const serverShape: Shape = {
  cpu: shapes.pserver.cpu + shapes.master.cpu / pserversPerJob,
  memoryMib: shapes.pserver.memoryMib + shapes.master.memoryMib / pserversPerJob,
};

/** Seconds over which the original averages: first and last one. */
export const windows = {
  all: [0, 550],
  /** Once nobody comes any more. */
  stable: [300, 530],
  /** When the online service needs least. */
  offPeak: [300, 370],
} as const;

export interface Experiment {
  readonly name: "case 1" | "case 2";
  readonly submitAtS: readonly number[];
  readonly trainersMin: number;
  readonly trainersMax: number;
  /** With how many the original starts a job, with and without its autoscaler. */
  readonly trainersAtStart: { readonly on: number; readonly off: number };
  /** Pods of the online service that are wanted from a time on. */
  readonly online: readonly { readonly atS: number; readonly pods: number }[];
  readonly endS: number;
}

export const caseOne: Experiment = {
  name: "case 1",
  submitAtS: Array.from({ length: 20 }, (_, index) => 4 + 13 * index),
  trainersMin: 2,
  trainersMax: 60,
  trainersAtStart: { on: 2, off: 60 },
  online: [],
  endS: 550,
};

export const caseTwo: Experiment = {
  name: "case 2",
  submitAtS: Array.from({ length: 6 }, (_, index) => 2 + 7.5 * index),
  trainersMin: 2,
  trainersMax: 60,
  trainersAtStart: { on: 15, off: 15 },
  online: [
    { atS: 0, pods: 400 },
    { atS: 112, pods: 300 },
    { atS: 204, pods: 200 },
    { atS: 298, pods: 100 },
    { atS: 388, pods: 200 },
    { atS: 484, pods: 300 },
    { atS: 578, pods: 400 },
  ],
  endS: 700,
};

export function onlineWanted({ online }: Experiment, atS: number): number {
  return online.findLast((step) => step.atS <= atS)?.pods ?? 0;
}

/** The cluster at one second. Arrays have one place for each job. */
export interface Sample {
  readonly atS: number;
  /** Cores of all that is bound to a node, the base load included. */
  readonly cpuUsed: number;
  readonly trainers: readonly number[];
  readonly isSubmitted: readonly boolean[];
  /** Its minimum of trainers runs, and everything else that they need. */
  readonly isAble: readonly boolean[];
  readonly online: number;
}

/** What a run gives, the original's or ours. */
export interface Run {
  readonly experiment: Experiment;
  readonly cpuTotal: number;
  /** One for each second, from 0. */
  readonly samples: readonly Sample[];
  /** Trainers that trained, and ended before the experiment did. */
  readonly gone: Departures;
}
