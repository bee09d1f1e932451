/** The autoscaler's loop: fold what is measured, decide for each running job, say what is wanted. */
import { type Bus, followJobs, type NodeRecord } from "@coxswain/bus";
import { AppError, type Job, type JobId } from "@coxswain/domain";
import type { NewEvent, PayloadOf } from "@coxswain/events";
import { metrics } from "@opentelemetry/api";
import { type BatchDecision, type BatchPolicy, decideBatch } from "./decide/decide-batch.ts";
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

export interface Options extends Policy, BatchPolicy {
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
    else if (await sayBatch(ports, options, job, bookOf(job))) said.push(job.id);
  }
  return said;
}

/** Says which batch the job shall have, where it allows another one. */
async function sayBatch(
  ports: Ports,
  options: Options,
  job: Job,
  book: SpeedBook,
): Promise<boolean> {
  const { batchSize, shards, adaptiveBatch: adaptive } = job.spec;
  const { updateSize: present = batchSize, changedAtMs, noise } = book;
  const inForce = job.batches.at(-1)?.decision ?? 0;
  const isUnderWay = (job.batchWanted?.decision ?? 0) > inForce;
  const decision = decideBatch(
    {
      ...{ batchSize, shards, present, adaptive, changedAtMs, noise, nowMs: ports.now() },
      isUnderWay,
      workers: Math.max(1, job.members.length),
      measured: measuredOf(book),
      stepsLeft: stepsLeftOf(job),
    },
    options,
  );
  return decision.kind === "want" && (await appendBatch(ports, job, decision));
}

async function appendBatch(
  ports: Ports,
  job: Job,
  { kind: _, curve, ...wanted }: Extract<BatchDecision, { kind: "want" }>,
): Promise<boolean> {
  const isSaid = await append(ports.bus, job, {
    name: "job.batch-wanted",
    payload: { ...wanted, curve: [...curve] },
  });
  if (isSaid) ports.log("batch wanted", { jobId: job.id, ...wanted });
  return isSaid;
}

type Said = {
  [Name in "job.workers-wanted" | "job.batch-wanted"]: {
    readonly name: Name;
    readonly payload: PayloadOf<Name>;
  };
}["job.workers-wanted" | "job.batch-wanted"];

/** False: the job has moved on, or the bus is away; the next look decides anew. */
async function append(bus: Bus, job: Job, said: Said): Promise<boolean> {
  const id = `${job.id}.${said.name.slice("job.".length)}.${job.lastJobSequence}`;
  const event = { ...said, jobId: job.id as JobId, id, source: "autoscaler" } as NewEvent;
  try {
    await bus.append(event, { expectLastSequence: job.lastJobSequence });
    return true;
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return false;
  }
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
    ...(book.updateSize === undefined ? {} : { updateSize: book.updateSize }),
    stepsLeft: stepsLeftOf(job),
    moveSeconds: moveSecondsOf(book),
    noise: book.noise,
  };
}

const stepsLeftOf = ({ progress }: Job) =>
  progress === undefined ? 1 : progress.steps - progress.step;

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
  const isSaid = await append(ports.bus, job, {
    name: "job.workers-wanted",
    payload: {
      ...expected,
      curve: [...curve],
      threshold: options.gainMin,
      moveSeconds: moveSecondsOf(book),
      ...(outcome === undefined ? {} : { lastOutcome: outcome }),
    },
  });
  const { workersWanted, reason } = decision;
  if (isSaid) ports.log("workers wanted", { jobId: job.id, workersWanted, reason });
  return isSaid;
}
