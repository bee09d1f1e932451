/**
 * The fewest trainers that have to leave, whoever decides, if the other aims of an experiment are to
 * be met. Both are bounds from below: the deciding one knows the future, packs every node anew at
 * each moment, and may give a job half a trainer.
 *
 * Case 2: those that fill the cluster at the trough, less those that fit beside all of the service's
 * pods. Case 1: a linear program over the trainers of each job between two arrivals. Jain's index is a
 * cone, |x| <= sum(x) / sqrt(jain * n); it is cut out by planes where the solution leaves it, and any
 * number of planes gives a bound.
 */
import type { Constraint, Solution, Solver, Terms } from "../lib/linear-program.ts";
import {
  baseLoadCpu,
  type Experiment,
  nodeSizes,
  pserversPerJob,
  type Run,
  serverShape,
  shapes,
  windows,
} from "./experiment.ts";
import { between } from "./metrics.ts";

/** What is asked for besides few moves. */
export const aims = {
  utilizationTimeWeighted: 82.4,
  utilizationStable: 88,
  offPeakUtilization: 88,
  jain: 0.95,
} as const;

const nodes = nodeSizes.reduce((sum, { count }) => sum + count, 0);
const cpuTotal = nodeSizes.reduce((sum, { cpu, count }) => sum + cpu * count, 0);
const baseCpu = nodes * baseLoadCpu;
const serversCpu = pserversPerJob * serverShape.cpu;

/** Most trainers that fit beside so many servers and pods of the service: exact, node by node. */
export function trainersAtMost(solve: Solver, servers: number, online: number): number {
  const cores = { t: shapes.trainer.cpu, s: serverShape.cpu, n: shapes.nginx.cpu };
  const perKind = nodeSizes.map(() => ({}) as Record<string, number>);
  const count = { t: {}, s: {}, n: {} } as Record<keyof typeof cores, Record<string, number>>;
  for (const [kind, { cpu }] of nodeSizes.entries()) {
    const room = cpu - baseLoadCpu;
    for (let t = 0; t * cores.t <= room; t += 1)
      for (let s = 0; t * cores.t + s * cores.s <= room; s += 1) {
        // One pod more on a node never hurts.
        const n = Math.floor((room - t * cores.t - s * cores.s) / cores.n);
        const name = `x_${kind}_${t}_${s}`;
        perKind[kind]![name] = 1;
        for (const [role, many] of Object.entries({ t, s, n }))
          count[role as keyof typeof cores][name] = many;
      }
  }
  const { value } = solve({
    goal: "Maximize",
    objective: count.t,
    constraints: [
      ...perKind.map((terms, kind) => atMost(terms, nodeSizes[kind]!.count)),
      atLeast(count.s, servers),
      atLeast(count.n, online),
    ],
    isWhole: true,
  });
  return Math.round(value);
}

const atMost = (terms: Terms, value: number): Constraint => ({ terms, is: "<=", value });
const atLeast = (terms: Terms, value: number): Constraint => ({ terms, is: ">=", value });

const trainersAt = (utilizationPercent: number, othersCpu: number) =>
  ((utilizationPercent / 100) * cpuTotal - baseCpu - othersCpu) / shapes.trainer.cpu;

/** @param trainersOffPeak absent: as few as the aim for the utilization allows */
export function leastMovesTwo(
  solve: Solver,
  { submitAtS, online }: Experiment,
  trainersOffPeak?: number,
): number {
  const jobs = submitAtS.length;
  const pods = online.map((step) => step.pods);
  const others = Math.min(...pods) * shapes.nginx.cpu + jobs * serversCpu;
  const before = trainersOffPeak ?? trainersAt(aims.offPeakUtilization, others);
  return Math.ceil(before) - trainersAtMost(solve, jobs * pserversPerJob, Math.max(...pods));
}

/** The time between two arrivals, or a part of it. */
interface Interval {
  readonly fromS: number;
  readonly toS: number;
  readonly jobs: number;
  readonly isStable: boolean;
}

export interface CaseOne {
  /** When the shares must be fair: on the mean of each interval, or once nobody comes any more. */
  readonly fairWhen: "always" | "stable";
  /** Trainers, all together, at least so many in each interval; absent: as few as the aims allow. */
  readonly trainers?: readonly number[];
}

/** The experiment's intervals, the last ones those before, in and after the stable time. */
export function intervalsOf({ submitAtS, endS }: Experiment): Interval[] {
  const [stableFromS, stableLastS] = windows.stable;
  const starts = [...submitAtS, stableFromS, stableLastS + 1];
  return starts.map((fromS, index) => ({
    fromS,
    toS: starts[index + 1] ?? endS + 1,
    jobs: Math.min(index + 1, submitAtS.length),
    isStable: fromS === stableFromS,
  }));
}

/** Trainers that a run had in each interval, on the mean. */
export function trainersBetween(run: Run): number[] {
  return intervalsOf(run.experiment).map(({ fromS, toS, jobs }) => {
    const samples = run.samples.filter(({ atS }) => atS >= fromS && atS < toS);
    const used = samples.reduce((sum, { cpuUsed }) => sum + cpuUsed, 0) / samples.length;
    return Math.max(0, (used - baseCpu - jobs * serversCpu) / shapes.trainer.cpu);
  });
}

/** Trainers that a run had when the service needed least, on the mean. */
export function trainersOffPeak(run: Run): number {
  const { submitAtS, online } = run.experiment;
  const samples = between(run, ...windows.offPeak);
  const used = samples.reduce((sum, { cpuUsed }) => sum + cpuUsed, 0) / samples.length;
  const pods = Math.min(...online.map((step) => step.pods)) * shapes.nginx.cpu;
  return (used - baseCpu - submitAtS.length * serversCpu - pods) / shapes.trainer.cpu;
}

const planesMax = 60;
/** Part of a job's trainers by which a solution may leave the cone. */
const negligible = 1e-4;

export function leastMovesOne(solve: Solver, experiment: Experiment, question: CaseOne): number {
  const intervals = intervalsOf(experiment);
  const constraints = constraintsOf(solve, experiment, intervals, question);
  const leaving: Record<string, number> = {};
  for (const { name, terms } of leaversOf(intervals)) {
    leaving[name] = 1;
    constraints.push(atLeast(terms, 0));
  }
  const most = Object.fromEntries(
    intervals.flatMap((one, at) =>
      trainersOf(one, at).map((name) => [name, experiment.trainersMax]),
    ),
  );
  for (let round = 0; ; round += 1) {
    const solution = solve({ goal: "Minimize", objective: leaving, constraints, most });
    const planes = intervals.flatMap((one, at) =>
      one.isStable || question.fairWhen === "always"
        ? planesFor(trainersOf(one, at), solution)
        : [],
    );
    if (planes.length === 0 || round === planesMax) return Math.ceil(solution.value - negligible);
    constraints.push(...planes);
  }
}

const trainersOf = ({ jobs }: Interval, at: number) =>
  Array.from({ length: jobs }, (_, job) => `t_${job}_${at}`);

/** Of each job that was there before: at least what it has less than in the interval before. */
function leaversOf(intervals: readonly Interval[]) {
  return intervals.slice(1).flatMap((_, before) =>
    trainersOf(intervals[before]!, before).map((had, job) => {
      const name = `left_${job}_${before}`;
      return { name, terms: { [name]: 1, [`t_${job}_${before + 1}`]: 1, [had]: -1 } };
    }),
  );
}

function constraintsOf(
  solve: Solver,
  experiment: Experiment,
  intervals: readonly Interval[],
  { trainers }: CaseOne,
): Constraint[] {
  const seconds = experiment.endS + 1;
  const stable = intervals.find(({ isStable }) => isStable)!;
  const stableTrainers = trainersAt(aims.utilizationStable, stable.jobs * serversCpu);
  // What is there besides trainers, over the whole time.
  const others = intervals.reduce(
    (sum, { fromS, toS, jobs }) => sum + (toS - fromS) * jobs * serversCpu,
    0,
  );
  const wanted = trainersAt(aims.utilizationTimeWeighted, others / seconds) * seconds;
  const all: Record<string, number> = {};
  const constraints = intervals.flatMap((one, at) => {
    const names = trainersOf(one, at);
    for (const name of names) all[name] = one.toS - one.fromS;
    const sum = Object.fromEntries(names.map((name) => [name, 1]));
    const least = Math.max(
      one.isStable ? stableTrainers : 0,
      Math.min(trainers?.[at] ?? 0, one.jobs * experiment.trainersMax),
    );
    return [atMost(sum, trainersAtMost(solve, one.jobs * pserversPerJob, 0)), atLeast(sum, least)];
  });
  return [...constraints, atLeast(all, wanted)];
}

/** Through the point of the cone next to what is outside of it. */
function planesFor(names: readonly string[], solution: Solution): Constraint[] {
  const values = names.map((name) => solution.of(name));
  const norm = Math.hypot(...values);
  const part = 1 / Math.sqrt(aims.jain * names.length);
  const outside = norm - part * values.reduce((sum, value) => sum + value, 0);
  if (outside <= negligible * norm) return [];
  const terms = Object.fromEntries(
    names.map((name, at) => [name, values[at]! / norm - part] as const),
  );
  return [atMost(terms, 0)];
}
