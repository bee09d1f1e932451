/** Submits a job and follows it to its end: what the demo and the benchmarks do. */
import {
  type ApiClient,
  type FollowedEvent,
  followEvents,
  type Json,
  submitFile,
} from "@coxswain/cli";

export interface RunOptions {
  readonly file: string;
  readonly settings: readonly string[];
  readonly signal: AbortSignal;
  readonly onEvent?: (event: FollowedEvent) => void | Promise<void>;
}

export interface JobRun {
  readonly id: string;
  readonly events: readonly FollowedEvent[];
  readonly weightsSha256: string;
  readonly metrics: Readonly<Record<string, number>>;
}

/** Resolves when the job has succeeded. @throws Error with the first cause when it did not */
export async function runJob(api: ApiClient, options: RunOptions): Promise<JobRun> {
  const job: Json = await submitFile(api, options.file, { settings: options.settings });
  const events: FollowedEvent[] = [];
  for await (const event of followEvents(api, {
    jobId: job.id,
    follow: true,
    signal: options.signal,
  })) {
    events.push(event);
    await options.onEvent?.(event);
    if (event.name === "job.failed")
      throw new Error(
        `job ${job.id} failed: ${event.payload.error.code}: ${event.payload.error.message}`,
      );
    if (event.name === "job.cancelled") throw new Error(`job ${job.id} was cancelled`);
    if (event.name === "job.succeeded")
      return {
        id: job.id,
        events,
        weightsSha256: event.payload.weightsSha256,
        metrics: event.payload.metrics,
      };
  }
  throw new Error("interrupted");
}
