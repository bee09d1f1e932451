/**
 * What an uninstallation does next about jobs, from one look at the cluster. Nothing else is deleted
 * before it says `go`: a job that still trains would lose its steps since the last checkpoint, and one
 * whose controller has gone first would be held by its finalizer for ever.
 */

export interface JobSeen {
  readonly name: string;
  /** As its status shows it; undefined: no controller has seen it. */
  readonly phase: string | undefined;
  readonly isSuspended: boolean;
  readonly isDeleted: boolean;
  /** By our finalizer. */
  readonly isHeld: boolean;
}

export interface UninstallSeen {
  readonly jobs: readonly JobSeen[];
  /** Pods of workers that have not ended. */
  readonly workers: number;
  /** Pods of job-api that run: whoever hears what is asked of TrainingJobs. */
  readonly controllers: number;
}

export type UninstallStep =
  | { readonly kind: "suspend"; readonly names: readonly string[] }
  | { readonly kind: "delete"; readonly names: readonly string[] }
  /** Takes our finalizer away: nobody else is there to do it. */
  | { readonly kind: "release"; readonly names: readonly string[] }
  | { readonly kind: "wait"; readonly reason: string }
  | { readonly kind: "refuse"; readonly reason: string }
  | { readonly kind: "go" };

const restPhases: readonly string[] = ["Suspended", "Succeeded", "Failed", "Cancelled", "Refused"];
const endPhases = restPhases.slice(1);
const namesOf = (jobs: readonly JobSeen[]) => jobs.map(({ name }) => name);

/** For an uninstallation after which every job can be found again. */
export function decideKeeping({ jobs, workers, controllers }: UninstallSeen): UninstallStep {
  const isOver = ({ phase }: JobSeen) => endPhases.includes(phase ?? "");
  const going = jobs.filter((job) => !job.isSuspended && !isOver(job));
  if (going.length > 0) return { kind: "suspend", names: namesOf(going) };
  const busy = jobs.filter(({ phase }) => !restPhases.includes(phase ?? ""));
  if (busy.length === 0 && workers === 0) return { kind: "go" };
  const what = [...busy.map(({ name, phase = "not seen" }) => `${name} (${phase})`)].join(", ");
  const reason = `${workers} workers run; jobs that have not stopped: ${what || "none"}`;
  return controllers === 0
    ? { kind: "refuse", reason: `job-api does not run, so no job can be suspended; ${reason}` }
    : { kind: "wait", reason };
}

/** For one that loses everything. */
export function decideLosing({ jobs, controllers }: UninstallSeen, isLate: boolean): UninstallStep {
  const present = jobs.filter(({ isDeleted }) => !isDeleted);
  if (present.length > 0) return { kind: "delete", names: namesOf(present) };
  if (jobs.length === 0) return { kind: "go" };
  const held = jobs.filter(({ isHeld }) => isHeld);
  if (held.length > 0 && (controllers === 0 || isLate))
    return { kind: "release", names: namesOf(held) };
  return { kind: "wait", reason: `being cancelled: ${namesOf(jobs).join(", ")}` };
}
