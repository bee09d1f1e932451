/** The state behind the routes: the folded jobs, the fan-out of events, and writing requests. */
import { type Appended, type Bus, followJobs, type JobsView } from "@coxswain/bus";
import { AppError, type Job, type JobId, whyIllegal } from "@coxswain/domain";
import type { NewEvent } from "@coxswain/events";
import { FanOut } from "./io/fan-out.ts";
import { followLook, type LookView } from "./io/follow-look.ts";

export interface Api {
  readonly bus: Bus;
  readonly view: JobsView;
  readonly fanOut: FanOut;
  readonly lookView: LookView;
  /** @throws AppError `job-not-found` */
  job(id: string): Job;
  /** Says a request about a job if its state allows it. Returns the job with the request folded in. */
  request(jobId: string, build: (job: Job) => RequestFact): Promise<Job>;
  /** Appends, then waits until the view shows it. */
  append(event: NewEvent, expectLastSequence: number): Promise<Appended>;
}

type RequestName =
  | "job.cancel-requested"
  | "job.suspend-requested"
  | "job.resume-requested"
  | "job.resize-requested";
export type RequestFact = {
  [Name in RequestName]: Pick<Extract<NewEvent, { name: Name }>, "name" | "payload">;
}[RequestName];

const ownWriteTimeoutMs = 2000;
/** Beyond these the jobs that ended first are no longer shown; their events stay in the log. */
const endedJobsMax = 20_000;
const conflictRetriesMax = 5;

export function buildApi(
  bus: Bus,
  signal: AbortSignal,
  log: (sentence: string, fields: object) => void,
): Api {
  const fanOut = new FanOut();
  const view = followJobs(bus, {
    signal,
    endedMax: endedJobsMax,
    onEvent: (event) => fanOut.publish(event),
    onRefused: (event, reason) =>
      log("a fact was refused", { name: event.name, sequence: event.sequence, reason }),
  });
  const job = (id: string) => {
    const found = view.jobs.get(id);
    if (found === undefined)
      throw new AppError("job-not-found", `there is no job "${id.slice(0, 80)}"`);
    return found;
  };
  const append = async (event: NewEvent, expectLastSequence: number) => {
    const appended = await bus.append(event, { expectLastSequence });
    await view.reached(appended.sequence, ownWriteTimeoutMs);
    return appended;
  };
  const request = async (jobId: string, build: (job: Job) => RequestFact): Promise<Job> => {
    for (let attempt = 0; ; attempt += 1) {
      const present = job(jobId);
      const fact = build(present);
      const illegal = whyIllegal(present, fact.name);
      if (illegal !== undefined) throw new AppError("illegal-move", illegal);
      const event = {
        ...fact,
        jobId: jobId as JobId,
        id: `${jobId}.${fact.name}.${present.lastJobSequence}`,
        source: "job-api",
      } as NewEvent;
      try {
        await append(event, present.lastJobSequence);
        return job(jobId);
      } catch (error) {
        const isConflict = error instanceof AppError && error.code === "conflict";
        if (!isConflict || attempt >= conflictRetriesMax) throw error;
        // The job has moved on: look at it again.
        await view.reached(await bus.lastJobSequence(jobId as JobId), ownWriteTimeoutMs);
      }
    }
  };
  return { bus, view, fanOut, lookView: followLook(bus, signal), job, append, request };
}
