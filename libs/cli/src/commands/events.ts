/** events, logs, verify: what the log says of a job. */
import { prettyFactory } from "pino-pretty";
import { type CommonOptions, type Context, connectApi, findJob, show } from "../context.ts";
import type { ApiClient } from "../io/api-client.ts";
import { auditThroughApi } from "../io/audit-job.ts";
import { followEvents } from "../io/follow-events.ts";
import { pc } from "../render/colours.ts";
import { eventLine } from "../render/event-line.ts";
import type { Add } from "./jobs.ts";

/** The job ended, but not well. */
export class JobFailed extends Error {}

const ends = new Set(["job.succeeded", "job.failed", "job.cancelled"]);

/** Prints a job's events until it ends. @throws JobFailed when it did not succeed */
export async function followToEnd(
  context: Context,
  api: ApiClient,
  jobId: string,
  options: CommonOptions,
): Promise<void> {
  for await (const event of followEvents(api, { jobId, follow: true, signal: context.signal })) {
    context.out(options.json ? JSON.stringify(event) : eventLine(event));
    if (event.name === "job.failed")
      throw new JobFailed(`${event.payload.error.code}: ${event.payload.error.message}`);
    if (event.name === "job.cancelled") throw new JobFailed("the job was cancelled");
    if (ends.has(event.name)) return;
  }
}

export function addEventCommands(add: Add, context: Context): void {
  add("events <job>", "a job's events from the log", [
    "cox events mnist-mlp",
    "cox events mnist-mlp --follow --json | jq .name",
  ])
    .option("--follow", "go on until the job ends")
    .option("--after <sequence>", "only events behind this sequence", "0")
    .action(async (given: string, options: CommonOptions & { follow?: boolean; after: string }) => {
      const api = await connectApi(context, options);
      const { id } = await findJob(api, given);
      for await (const event of followEvents(api, {
        jobId: id,
        after: Number(options.after),
        follow: options.follow === true,
        signal: context.signal,
      })) {
        context.out(options.json ? JSON.stringify(event) : eventLine(event));
        if (options.follow && ends.has(event.name)) return;
      }
    });
  add("logs <job>", "what a job's workers write", [
    "cox logs mnist-mlp",
    "cox logs mnist-mlp --worker w1-52c23f --follow",
  ])
    .option("--worker <id>", "only this worker")
    .option("--follow", "go on")
    .action(
      async (given: string, options: CommonOptions & { worker?: string; follow?: boolean }) => {
        const api = await connectApi(context, options);
        const { id } = await findJob(api, given);
        const worker =
          options.worker === undefined ? "" : `&worker=${encodeURIComponent(options.worker)}`;
        const body = await api.stream(
          `/v1/jobs/${id}/logs?follow=${options.follow === true}${worker}`,
          context.signal,
        );
        for await (const line of linesOf(body)) context.out(options.json ? line : logLine(line));
      },
    );
  add("verify <job>", "prove from the log that each sample of each epoch was trained on once", [
    "cox verify mnist-mlp",
  ]).action(async (given: string, options: CommonOptions) => {
    const api = await connectApi(context, options);
    const { id } = await findJob(api, given);
    const report = await auditThroughApi(api, id);
    show(context, options, report, () =>
      [
        report.ok
          ? pc.green(`${id}: each step committed once, each sample of each epoch once`)
          : pc.red(`${id}: the log does not add up`),
        `  ${report.stepsCommitted} steps committed, ${report.stepsTwice} twice, ${report.stepsSkipped} skipped, in ${report.generations.length} generations`,
        ...(report.stepsInherited === 0
          ? []
          : [
              `  ${report.stepsInherited} of them are the job's at whose checkpoint it began: verify that one too`,
            ]),
        `  ${report.samplesTwice} samples twice, ${report.samplesSkipped} skipped`,
        ...report.violations.map((violation) =>
          pc.red(`  ${typeof violation === "string" ? violation : JSON.stringify(violation)}`),
        ),
      ].join("\n"),
    );
    if (!report.ok) throw new JobFailed("the audit found violations");
  });
}

async function* linesOf(body: ReadableStream<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    yield* lines;
  }
}

const readable = prettyFactory({
  colorize: pc.isColorSupported,
  singleLine: true,
  translateTime: "UTC:HH:MM:ss.l",
  ignore: "pid,hostname,service,jobId,workerId",
});

/** Structured lines are made readable; what the program itself writes stays as it is. */
export function logLine(line: string): string {
  const { workerId, text } = JSON.parse(line) as {
    readonly workerId: string;
    readonly text: string;
  };
  return `${pc.dim(workerId)} ${text.startsWith("{") ? readable(text).trimEnd() : text}`;
}
