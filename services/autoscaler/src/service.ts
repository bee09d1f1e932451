/** The autoscaler's loop: fold what is measured, decide for each running job, say what is wanted. */
import { type Bus, followJobs, type NodeRecord } from "@coxswain/bus";
import { AppError, type Job, type JobId } from "@coxswain/domain";
import { metrics } from "@opentelemetry/api";
import { decideWorkers, type JobSpeed, type Policy } from "./decide/decide-workers.ts";
import { roomOf } from "./decide/room.ts";
import {
  emptyBook,
  measuredOf,
  moveSecondsOf,
  note,
  outcomeOf,
  type SpeedBook,
} from "./decide/speed-book.ts";
import { followNodes } from "./io/nodes.ts";

export interface Ports {
  readonly bus: Bus;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly log: (sentence: string, fields: object) => void;
}

export interface Options extends Policy {
  readonly cycleIntervalMs: number;
}

/** Observed over expected speed, less 1, of the numbers of workers that were asked for. */
const predictionError = metrics
  .getMeter("coxswain")
  .createHistogram("coxswain.autoscaler.prediction_error", { unit: "1" });

export async function runAutoscaler(ports: Ports, options: Options): Promise<void> {
  const { bus, signal } = ports;
  const books = new Map<string, SpeedBook>();
  const view = followJobs(bus, {
    signal,
    onEvent: (event) => {
      const before = books.get(event.jobId) ?? emptyBook;
      const after = note(before, event);
      books.set(event.jobId, after);
      recordOutcome(event.jobId, before, after);
    },
  });
  const nodes = followNodes(bus, signal);
  await view.caughtUp;
  while (!signal.aborted) {
    await cycle(ports, options, { jobs: view.jobs, books, nodes });
    await bus.clock.delay(options.cycleIntervalMs, signal);
  }
  await view.done;
}

interface Snapshot {
  readonly jobs: ReadonlyMap<string, Job>;
  readonly books: ReadonlyMap<string, SpeedBook>;
  readonly nodes: ReadonlyMap<string, NodeRecord>;
}

/** One look at all running jobs. Returns the ids of those that something was said of. */
export async function cycle(
  ports: Ports,
  options: Options,
  { jobs, books, nodes }: Snapshot,
): Promise<string[]> {
  const running = [...jobs.values()].filter(({ state }) => state.kind === "running");
  const bookOf = (job: Job) => books.get(job.id) ?? emptyBook;
  const speeds = running.map((job) => speedOf(job, bookOf(job), ports.now()));
  const room = roomOf([...nodes.values()], running);
  const decisions = decideWorkers(speeds, room, options);
  const said: string[] = [];
  for (const [index, job] of running.entries()) {
    const decision = decisions[index]!;
    if (
      decision.kind === "want" &&
      (await say(ports, options, { job, book: bookOf(job), decision }))
    )
      said.push(job.id);
  }
  return said;
}

function speedOf(job: Job, book: SpeedBook, nowMs: number): JobSpeed {
  const { workers, batchSize, shards } = job.spec;
  return {
    jobId: job.id,
    nowMs,
    batchSize,
    shards,
    changedAtMs: book.changedAtMs,
    workersNow: job.members.length,
    workersWanted: job.workersWanted,
    min: workers.min,
    max: workers.max,
    isFixedByUser: book.isFixedByUser,
    measured: measuredOf(book),
    stepsLeft: job.progress === undefined ? 1 : job.progress.steps - job.progress.step,
    moveSeconds: moveSecondsOf(book),
    noise: book.noise,
  };
}

/** Once for each prediction: as soon as enough was measured. */
function recordOutcome(jobId: string, before: SpeedBook, after: SpeedBook): void {
  const outcome = outcomeOf(after);
  if (outcome === undefined || outcomeOf(before) !== undefined) return;
  const { observedSamplesPerSecond, expectedSamplesPerSecond, workers } = outcome;
  const error = observedSamplesPerSecond / expectedSamplesPerSecond - 1;
  predictionError.record(error, { "coxswain.job": jobId, "coxswain.workers": workers });
}

async function say(
  ports: Ports,
  options: Options,
  said: {
    readonly job: Job;
    readonly book: SpeedBook;
    readonly decision: Extract<ReturnType<typeof decideWorkers>[number], { kind: "want" }>;
  },
): Promise<boolean> {
  const { job, book, decision } = said;
  const { kind: _, curve, ...expected } = decision;
  const outcome = outcomeOf(book);
  try {
    await ports.bus.append(
      {
        name: "job.workers-wanted",
        jobId: job.id as JobId,
        id: `${job.id}.workers-wanted.${job.lastJobSequence}`,
        source: "autoscaler",
        payload: {
          ...expected,
          curve: [...curve],
          threshold: options.gainMin,
          moveSeconds: moveSecondsOf(book),
          ...(outcome === undefined ? {} : { lastOutcome: outcome }),
        },
      },
      { expectLastSequence: job.lastJobSequence },
    );
    ports.log("workers wanted", {
      jobId: job.id,
      workersWanted: decision.workersWanted,
      reason: decision.reason,
    });
    return true;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return false; // The job has moved on, or the bus is away: the next look decides anew.
  }
}
