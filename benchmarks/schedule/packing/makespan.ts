/**
 * How long the mixed jobs take, together and apart, and how full the machines are meanwhile: all are
 * submitted at once, in virtual time, and the scheduler's own code decides.
 */
import type { Resources } from "@coxswain/domain";
import { measuredCosts, queuedJob, simulate } from "@coxswain/sim";
import { mean, seeded } from "../../lib/numbers.ts";
import { capacityOf, kinds, machines, names, nodesFrom, splitOf, workloadOf } from "./mixed.ts";

/** What a job takes with its one worker, evenly between these two. */
const minutes = [10, 60] as const;

export interface Spell {
  /** From the first submission to the last end. */
  readonly makespanHours: number;
  /** No order and no placement can end sooner: the scarcest resource in full use, or the longest job. */
  readonly leastHours: number;
  readonly meanJctHours: number;
  /** Of all machines, from the first submission to the last end, by resource. */
  readonly used: Readonly<Partial<Record<(typeof names)[number], number>>>;
}

interface MixedJob {
  readonly kind: string;
  readonly seconds: number;
}

/** Jobs until what they ask for of some resource is `demand` times what there is. */
function jobsOf(demand: number, seed: number): MixedJob[] {
  const random = seeded(seed + 1000);
  const [least, most] = minutes;
  return workloadOf(demand, seed).map((kind) => ({
    kind,
    seconds: 60 * (least + (most - least) * random()),
  }));
}

const resourcesOf = ({ kind }: MixedJob): Resources => kinds[kind]!.resources;

/** Hours after which each of the jobs ends, on so many machines. */
function endsOf(jobs: readonly MixedJob[], count: number, seed: number): number[] {
  const { timeline } = simulate({
    nodes: nodesFrom(0, count).map((node) => ({ node })),
    jobs: jobs.map((mixed, index) => ({
      job: queuedJob({
        id: `j${index}`,
        atMs: 0,
        sequence: index + 1,
        spec: { workers: { min: 1, max: 1 }, resources: resourcesOf(mixed) },
      }),
      arrivesAtMs: 0,
      work: { units: mixed.seconds, unitsPerSecond: () => 1 },
    })),
    costs: measuredCosts,
    seed,
    untilMs: Number.POSITIVE_INFINITY,
  });
  return timeline.flatMap(({ kind, atMs }) => (kind === "ended" ? [atMs / 3_600_000] : []));
}

function spellOf(jobs: readonly MixedJob[], ends: readonly number[]): Spell {
  if (ends.length !== jobs.length) throw new Error(`${ends.length} of ${jobs.length} jobs ended`);
  const makespanHours = Math.max(...ends);
  /** Hours for which all of a resource would be in use. */
  const full = names.map((name) => {
    const seconds = jobs.map((job) => job.seconds * (resourcesOf(job)[name] ?? 0));
    return seconds.reduce((total, one) => total + one, 0) / (3600 * capacityOf(name));
  });
  const longest = Math.max(...jobs.map(({ seconds }) => seconds / 3600));
  return {
    makespanHours,
    leastHours: Math.max(longest, ...full),
    meanJctHours: mean(ends),
    used: Object.fromEntries(names.map((name, index) => [name, full[index]! / makespanHours])),
  };
}

export function runTogether(demand: number, seed: number): Spell {
  const jobs = jobsOf(demand, seed);
  return spellOf(jobs, endsOf(jobs, machines, seed));
}

/** Each kind on machines of its own, split as `fillApart` splits them. */
export function runApart(demand: number, seed: number): Spell {
  const jobs = jobsOf(demand, seed);
  const ends = splitOf(jobs.map(({ kind }) => kind)).flatMap(({ kind, count }) =>
    endsOf(
      jobs.filter((job) => job.kind === kind),
      count,
      seed,
    ),
  );
  return spellOf(jobs, ends);
}
