/**
 * Server-sent events (WHATWG HTML, 9.2) from the log. The id is the stream's sequence, so a client
 * resumes with `Last-Event-ID`. A reader that is too slow is dropped with a reason; it can resume.
 */
import type { ServerResponse } from "node:http";
import type { Bus } from "@coxswain/bus";
import type { JobId } from "@coxswain/domain";
import type { EventName, StoredEvent } from "@coxswain/events";
import { behindMax, type FanOut } from "./fan-out.ts";

export interface StreamOptions {
  readonly after: number;
  readonly follow: boolean;
  readonly jobId?: JobId;
  readonly names?: readonly EventName[];
  readonly response: ServerResponse;
  readonly signal: AbortSignal;
}

const keepAliveMs = 15_000;
const retryMs = 1000;
const chunkEvents = 256;

/** Writes until the client goes, the history ends (`follow: false`), or the reader is dropped. */
export async function streamEvents(
  ports: { readonly bus: Bus; readonly fanOut: FanOut },
  options: StreamOptions,
): Promise<void> {
  const { response, signal } = options;
  response.writeHead(200, {
    "content-type": "text/event-stream",
    "cache-control": "no-cache, no-transform",
    "x-accel-buffering": "no",
  });
  // An id at once, so that resuming always works.
  response.write(`retry: ${retryMs}\nid: ${options.after}\ndata:\n\n`);
  const keepAlive = setInterval(() => response.write(": alive\n\n"), keepAliveMs);
  try {
    const last = await writeHistory(ports.bus, options);
    if (options.follow && !signal.aborted) await writeLive(ports.fanOut, options, last);
  } finally {
    clearInterval(keepAlive);
    response.end();
  }
}

export function textOf(event: StoredEvent): string {
  const { name, jobId, payload, sequence, timeMs, source, traceparent } = event;
  const data = {
    name,
    jobId,
    payload,
    sequence,
    time: new Date(timeMs).toISOString(),
    source,
    ...(traceparent === undefined ? {} : { traceparent }),
  };
  return `id: ${sequence}\nevent: ${name}\ndata: ${JSON.stringify(data)}\n\n`;
}

/** The log up to its present end, at the pace of the client. Returns the last sequence passed. */
async function writeHistory(bus: Bus, options: StreamOptions): Promise<number> {
  const { response, signal, jobId, names } = options;
  let last = options.after;
  let pending: string[] = [];
  const flush = async () => {
    if (pending.length === 0) return;
    const text = pending.join("");
    pending = [];
    if (!response.write(text)) await drained(response, signal);
  };
  const filter = {
    ...(jobId === undefined ? {} : { jobId }),
    ...(names === undefined ? {} : { names }),
  };
  for await (const item of bus.follow({ fromSequence: options.after + 1, signal, ...filter })) {
    if (item.kind === "caught-up") {
      last = Math.max(last, item.sequence);
      break;
    }
    last = item.event.sequence;
    pending.push(textOf(item.event));
    if (pending.length >= chunkEvents) await flush();
  }
  await flush();
  return last;
}

function drained(response: ServerResponse, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = () => {
      response.off("drain", done);
      signal.removeEventListener("abort", done);
      resolve();
    };
    response.once("drain", done);
    signal.addEventListener("abort", done, { once: true });
  });
}

async function writeLive(
  fanOut: FanOut,
  { response, signal, jobId, names }: StreamOptions,
  after: number,
): Promise<void> {
  const ended = Promise.withResolvers<void>();
  const wanted = names === undefined ? undefined : new Set<string>(names);
  let queue: StoredEvent[] = [];
  let isWaiting = false;
  const pump = () => {
    while (queue.length > 0 && !isWaiting) {
      const texts = queue.splice(0, chunkEvents).map(textOf).join("");
      if (response.write(texts)) continue;
      isWaiting = true;
      void drained(response, signal).then(() => {
        isWaiting = false;
        pump();
      });
    }
  };
  const drop = (reason: string) => {
    queue = [];
    response.write(`event: dropped\ndata: ${JSON.stringify({ reason })}\n\n`);
    ended.resolve();
  };
  const leave = fanOut.join(
    {
      wants: (event) =>
        (jobId === undefined || event.jobId === jobId) &&
        (wanted === undefined || wanted.has(event.name)),
      push: (event) => {
        queue.push(event);
        if (queue.length > behindMax)
          drop(`more than ${behindMax} events behind; resume with Last-Event-ID`);
        else pump();
      },
    },
    after,
  );
  if (leave === undefined)
    return drop("the history grew faster than it was read; resume with Last-Event-ID");
  signal.addEventListener("abort", () => ended.resolve(), { once: true });
  await ended.promise;
  leave();
}
