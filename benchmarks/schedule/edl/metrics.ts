/** Figures of a run, as the original's collector defined them, and the ones that it did not have. */
import { mean, percentile } from "../../lib/numbers.ts";
import type { Run, Sample } from "./experiment.ts";
import { onlineWanted, windows } from "./experiment.ts";

export interface Figures {
  /** Submission to the first running trainer; for a job that never has one: to the end. */
  readonly pendingSecondsFirst: number;
  /** The same of the jobs that come when the cluster is full, and that ever have one. */
  readonly lateWaitSecondsMedian: number | null;
  readonly lateWaitSecondsP90: number | null;
  readonly withoutTrainerAt500: number;
  /** Submission to a minimum of trainers that can train. */
  readonly pendingSecondsMean: number;
  readonly neverStarted: number;
  /** Of the trainers of all jobs, in the stable time. */
  readonly jain: number;
  /** Jobs with a running trainer that cannot train, mean in the stable time. */
  readonly pseudoRunning: number;
  readonly utilizationTimeWeighted: number;
  readonly utilizationStable: number;
  readonly trainersStable: number;
  /** Jobs without a running trainer at the end. */
  readonly pendingAtEnd: number;
  /** Trainers that left or were killed. */
  readonly gone: number;
  readonly killed: number;
}

/** 1: all equal; 1/n: one has all (Jain, Chiu, Hawe 1984). */
export function jainIndex(values: readonly number[]): number {
  const sum = values.reduce((total, value) => total + value, 0);
  const squares = values.reduce((total, value) => total + value * value, 0);
  return squares === 0 ? 1 : (sum * sum) / (values.length * squares);
}

export const between = ({ samples }: Run, fromS: number, toS: number) =>
  samples.filter(({ atS }) => atS >= fromS && atS <= toS);

const utilizationOf = (run: Run, samples: readonly Sample[]) =>
  (100 * mean(samples.map(({ cpuUsed }) => cpuUsed))) / run.cpuTotal;

/** The first of case 1's jobs that find the cluster full, and when those without a trainer are counted. */
const firstLateJob = 6;
const lateS = 500;

function lateWaits(run: Run, q: number): number | null {
  const waits = run.experiment.submitAtS.slice(firstLateJob).flatMap((submitS, index) => {
    const first = run.samples.find(({ trainers }) => trainers[firstLateJob + index]! > 0);
    return first === undefined ? [] : [first.atS - submitS];
  });
  return waits.length === 0 ? null : percentile(waits, q);
}

function secondsUntil(run: Run, isThere: (sample: Sample, job: number) => boolean): number[] {
  return run.experiment.submitAtS.map((submitS, job) => {
    const first = run.samples.find((sample) => sample.atS >= submitS && isThere(sample, job));
    return (first?.atS ?? run.experiment.endS) - submitS;
  });
}

const goneOf = ({ gone: { left, killed } }: Run) => ({ gone: left + killed, killed });

export function figuresOf(run: Run): Figures {
  const stable = between(run, ...windows.stable);
  const last = run.samples.at(-1)!;
  return {
    pendingSecondsFirst: mean(secondsUntil(run, ({ trainers }, job) => trainers[job]! > 0)),
    lateWaitSecondsMedian: lateWaits(run, 0.5),
    lateWaitSecondsP90: lateWaits(run, 0.9),
    withoutTrainerAt500: run.samples[lateS]!.trainers.filter((count) => count === 0).length,
    pendingSecondsMean: mean(secondsUntil(run, ({ isAble }, job) => isAble[job]!)),
    neverStarted: run.experiment.submitAtS.filter(
      (_, job) => !run.samples.some(({ isAble }) => isAble[job]!),
    ).length,
    jain: mean(stable.map(({ trainers }) => jainIndex(trainers))),
    pseudoRunning: mean(
      stable.map(
        ({ trainers, isAble }) => trainers.filter((count, job) => count > 0 && !isAble[job]).length,
      ),
    ),
    utilizationTimeWeighted: utilizationOf(run, between(run, ...windows.all)),
    utilizationStable: utilizationOf(run, stable),
    trainersStable: mean(stable.map(({ trainers }) => trainers.reduce((a, b) => a + b, 0))),
    pendingAtEnd: last.trainers.filter((count) => count === 0).length,
    ...goneOf(run),
  };
}

export interface OnlineFigures {
  readonly utilizationTimeWeighted: number;
  /** From 300 s to 370 s, when the online service needs least. */
  readonly offPeakUtilization: number;
  /** Missing part of the pod-seconds that the service asked for, from the first step up on. */
  readonly onlineShortfallPercent: number;
  /** From a step up to all of its pods running; the longest; null: not within its step. */
  readonly restoreSecondsMax: number | null;
  readonly trainersMean: number;
  /** Trainers that left or were killed. */
  readonly gone: number;
  readonly killed: number;
}

export function onlineFiguresOf(run: Run): OnlineFigures {
  const { experiment, samples } = run;
  const ups = experiment.online.filter(
    ({ pods }, index) => pods > (experiment.online[index - 1]?.pods ?? pods),
  );
  const after = between(run, ups[0]!.atS, experiment.endS);
  const wanted = after.map(({ atS }) => onlineWanted(experiment, atS));
  const missing = after.map(({ online }, index) => Math.max(0, wanted[index]! - online));
  const restored = ups.map(({ atS, pods }) => {
    const next = experiment.online.find((step) => step.atS > atS)?.atS ?? experiment.endS;
    const full = samples.find(
      (sample) => sample.atS >= atS && sample.atS <= next && sample.online >= pods,
    );
    return full === undefined ? undefined : full.atS - atS;
  });
  return {
    utilizationTimeWeighted: utilizationOf(run, between(run, ...windows.all)),
    offPeakUtilization: utilizationOf(run, between(run, ...windows.offPeak)),
    onlineShortfallPercent: (100 * mean(missing)) / mean(wanted),
    restoreSecondsMax: restored.includes(undefined) ? null : Math.max(...(restored as number[])),
    trainersMean: mean(
      between(run, ...windows.all).map(({ trainers }) => trainers.reduce((a, b) => a + b, 0)),
    ),
    ...goneOf(run),
  };
}
