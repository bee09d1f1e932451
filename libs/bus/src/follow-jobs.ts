/** All jobs as the log tells them, kept current: what every control loop looks at. */
import { AppError, isEnded, type Job, next, passOver } from "@coxswain/domain";
import type { StoredEvent } from "@coxswain/events";
import type { Bus } from "./bus.ts";
import { within } from "./clock.ts";

export interface JobsView {
  /** By id; a projection of the log up to `sequence`. Of ended jobs only the newest are kept. */
  readonly jobs: ReadonlyMap<string, Job>;
  readonly sequence: number;
  /** W3C traceparent of each job's submission: spans of whoever works for the job go on there. */
  readonly traceparents: ReadonlyMap<string, string>;
  /** The log's end at the time of starting was passed. */
  readonly isCaughtUp: boolean;
  /** Resolves once the log's end at the time of starting was passed. */
  readonly caughtUp: Promise<void>;
  /** Resolves when the projection has folded this sequence, or after `timeoutMs`: says whether it has. */
  reached(sequence: number, timeoutMs: number): Promise<boolean>;
  /** Ends with `signal`. */
  readonly done: Promise<void>;
}

export interface FollowJobsOptions {
  readonly signal: AbortSignal;
  /** Ended jobs that are kept; beyond these the one that ended first is forgotten. */
  readonly endedMax?: number;
  /** Called after each folded event, with the job as it was and as it is. */
  readonly onEvent?: (event: StoredEvent, job: Job | undefined, before: Job | undefined) => void;
  /** A fact that the fold refused: somebody wrote without looking. The job stays as it was. */
  readonly onRefused?: (event: StoredEvent, reason: string) => void;
}

const endedMaxDefault = 1000;

export function followJobs(bus: Bus, options: FollowJobsOptions): JobsView {
  const jobs = new Map<string, Job>();
  const traceparents = new Map<string, string>();
  const { endedMax = endedMaxDefault } = options;
  /** In the order in which they ended. */
  const ended = new Set<string>();
  const forgetBeyond = (jobId: string) => {
    ended.add(jobId);
    for (const oldest of ended) {
      if (ended.size <= endedMax) return;
      for (const known of [ended, jobs, traceparents]) known.delete(oldest);
    }
  };
  const waiters = new Set<{ readonly sequence: number; readonly resolve: () => void }>();
  const caughtUp = Promise.withResolvers<void>();
  const state = { sequence: 0, isCaughtUp: false };
  const fold = (event: StoredEvent) => {
    const before = jobs.get(event.jobId);
    const after = foldOne(before, event, options.onRefused);
    if (after !== undefined) jobs.set(event.jobId, after);
    if (after !== undefined && isEnded(after)) forgetBeyond(event.jobId);
    if (event.name === "job.submitted" && event.traceparent !== undefined)
      traceparents.set(event.jobId, event.traceparent);
    state.sequence = event.sequence;
    for (const waiter of [...waiters]) if (waiter.sequence <= event.sequence) waiter.resolve();
    options.onEvent?.(event, after, before);
  };
  const done = (async () => {
    for await (const item of bus.follow({ signal: options.signal })) {
      if (item.kind === "event") fold(item.event);
      else {
        state.isCaughtUp = true;
        caughtUp.resolve();
      }
    }
  })();
  return {
    jobs,
    traceparents,
    caughtUp: caughtUp.promise,
    done,
    get sequence() {
      return state.sequence;
    },
    get isCaughtUp() {
      return state.isCaughtUp;
    },
    reached: (sequence, timeoutMs) => {
      if (state.sequence >= sequence) return Promise.resolve(true);
      const { promise, resolve } = Promise.withResolvers<void>();
      const waiter = { sequence, resolve };
      waiters.add(waiter);
      return within(bus.clock, promise, timeoutMs).finally(() => waiters.delete(waiter));
    },
  };
}

function foldOne(
  job: Job | undefined,
  event: StoredEvent,
  onRefused: FollowJobsOptions["onRefused"],
): Job | undefined {
  try {
    return next(job, event);
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    onRefused?.(event, error.message);
    return job && passOver(job, event);
  }
}
