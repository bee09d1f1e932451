/** What the log says of this worker's job, kept current. */
import { type Bus, within } from "@coxswain/bus";
import { AppError, assert, type Job, type JobId, next, wantedWorkers } from "@coxswain/domain";
import type { StoredEvent } from "@coxswain/events";
import { startPatienceMs } from "./patiently.ts";

export interface Observer {
  observe(event: StoredEvent): void;
}

export interface JobContext {
  job(): Job;
  /** Workers whose process is known to have ended, or that the scheduler has given up. */
  readonly knownDead: ReadonlySet<string>;
  /** Calls back after each event of the job, from the next one on. */
  onEvent(listener: (event: StoredEvent) => void): void;
  /** Resolves when this is true of the job, at once or after one of its events. */
  until(isTrue: (job: Job) => boolean): Promise<void>;
  /** Tells these of each event from the next one on; the first of them also what was said of training. */
  tell(observers: readonly [Observer, ...Observer[]]): void;
}

/**
 * Waits for a bus that is away, for `startPatienceMs` at most.
 * @throws AppError `job-not-found` when the log has no such job, `bus-unavailable`
 */
export async function followJob(bus: Bus, jobId: JobId, signal: AbortSignal): Promise<JobContext> {
  const listeners = new Set<(event: StoredEvent) => void>();
  const knownDead = new Set<string>();
  const training: StoredEvent[] = [];
  const waiting = new Set<() => void>();
  const ready = Promise.withResolvers<void>();
  let job: Job | undefined;
  const fold = (event: StoredEvent) => {
    job = foldOne(job, event);
    for (const worker of deadOf(event)) knownDead.add(worker);
    if (listeners.size === 0 && event.name.startsWith("training.")) training.push(event);
    for (const listener of listeners) listener(event);
    for (const look of waiting) look();
  };
  void (async () => {
    for await (const item of bus.follow({ jobId, signal })) {
      if (item.kind === "event") fold(item.event);
      else ready.resolve();
    }
  })();
  if (!(await within(bus.clock, ready.promise, startPatienceMs)))
    throw new AppError(
      "bus-unavailable",
      `the log was not read within ${startPatienceMs / 1000} s`,
    );
  if (job === undefined) throw new AppError("job-not-found", `the log knows no job "${jobId}"`);
  const current = () => {
    assert(job !== undefined, "the job was found");
    return job;
  };
  return {
    job: current,
    knownDead,
    tell: (observers) => {
      for (const event of training) observers[0].observe(event);
      listeners.add((event) => {
        for (const observer of observers) observer.observe(event);
      });
    },
    onEvent: (listener) => void listeners.add(listener),
    until: (isTrue) =>
      new Promise((resolve) => {
        const look = () => {
          if (!isTrue(current())) return;
          waiting.delete(look);
          resolve();
        };
        waiting.add(look);
        look();
      }),
  };
}

function foldOne(job: Job | undefined, event: StoredEvent): Job | undefined {
  try {
    return next(job, event);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    return job; // A refused move changes nothing.
  }
}

/** Workers that cannot commit anything any more, says this event. */
function deadOf(event: StoredEvent): readonly string[] {
  if (event.name === "worker.lost" || event.name === "worker.left") return [event.payload.workerId];
  return event.name === "job.placed" ? (event.payload.declaredDead ?? []) : [];
}

/** So many workers train where further ones are asked to stand by. */
export function trainingMaxOf(job: Job): number | undefined {
  return (job.spec.workers.standby ?? 0) > 0 ? wantedWorkers(job) : undefined;
}
