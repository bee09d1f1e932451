/** The autoscaler's loop: fold what is measured, decide for each running job, say what is wanted. */
import { setTimeout as delay } from "node:timers/promises";
import { type Bus, followJobs } from "@coxswain/bus";
import { AppError, type Job, type JobId } from "@coxswain/domain";
import { decideWorkers, type Policy } from "./decide/decide-workers.ts";
import { emptyBook, measuredOf, note, type SpeedBook } from "./decide/speed-book.ts";

export interface Ports {
  readonly bus: Bus;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly log: (sentence: string, fields: object) => void;
}

export interface Options extends Policy {
  readonly cycleIntervalMs: number;
}

export async function runAutoscaler(ports: Ports, options: Options): Promise<void> {
  const { bus, signal } = ports;
  const books = new Map<string, SpeedBook>();
  const view = followJobs(bus, {
    signal,
    onEvent: (event) => books.set(event.jobId, note(books.get(event.jobId) ?? emptyBook, event)),
  });
  await view.caughtUp;
  while (!signal.aborted) {
    await cycle(ports, options, view.jobs, books);
    await delay(options.cycleIntervalMs, undefined, { signal }).catch(() => undefined);
  }
  await view.done;
}

/** One look at every running job. Returns the ids of those that something was said of. */
export async function cycle(
  ports: Ports,
  options: Options,
  jobs: ReadonlyMap<string, Job>,
  books: ReadonlyMap<string, SpeedBook>,
): Promise<string[]> {
  const said: string[] = [];
  for (const job of jobs.values()) {
    if (job.state.kind !== "running") continue;
    const book = books.get(job.id) ?? emptyBook;
    const { min, max } = job.spec.workers;
    const speed = {
      jobId: job.id,
      nowMs: ports.now(),
      changedAtMs: book.changedAtMs,
      workersNow: job.members.length,
      workersWanted: job.workersWanted,
      min,
      max,
      isFixedByUser: book.isFixedByUser,
      measured: measuredOf(book),
    };
    const decision = decideWorkers(speed, options);
    if (decision.kind === "want" && (await say(ports, options, job, decision))) said.push(job.id);
  }
  return said;
}

async function say(
  ports: Ports,
  options: Options,
  job: Job,
  {
    workersWanted,
    reason,
    curve,
    marginalGain,
  }: Extract<ReturnType<typeof decideWorkers>, { kind: "want" }>,
): Promise<boolean> {
  try {
    await ports.bus.append(
      {
        name: "job.workers-wanted",
        jobId: job.id as JobId,
        id: `${job.id}.workers-wanted.${job.lastJobSequence}`,
        source: "autoscaler",
        payload: {
          workersWanted,
          reason,
          curve: [...curve],
          marginalGain,
          threshold: options.gainMin,
        },
      },
      { expectLastSequence: job.lastJobSequence },
    );
    ports.log("workers wanted", { jobId: job.id, workersWanted, reason });
    return true;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return false; // The job has moved on, or the bus is away: the next look decides anew.
  }
}
