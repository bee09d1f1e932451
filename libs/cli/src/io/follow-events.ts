/** A job's events as they happen: server-sent events, resumed after a broken connection. */
import { setTimeout as delay } from "node:timers/promises";
import { createParser, type EventSourceMessage } from "eventsource-parser";
import { type ApiClient, ApiError, type Json } from "./api-client.ts";

export interface FollowedEvent {
  readonly name: string;
  readonly jobId: string;
  readonly sequence: number;
  readonly time: string;
  readonly payload: Json;
}

export interface FollowOptions {
  /** One job's events; all jobs' when absent. */
  readonly jobId?: string;
  readonly after?: number;
  /** False ends at the log's present end. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

const retryMs = 500;

export async function* followEvents(
  api: ApiClient,
  options: FollowOptions,
): AsyncGenerator<FollowedEvent> {
  let last = options.after ?? 0;
  const path = options.jobId === undefined ? "/v1/events" : `/v1/jobs/${options.jobId}/events`;
  while (!options.signal.aborted) {
    try {
      for await (const event of readOnce(api, path, last, options)) {
        last = event.sequence;
        yield event;
      }
    } catch (error) {
      if (isFinal(error, options)) throw error;
    }
    if (!options.follow) return;
    await delay(retryMs, undefined, { signal: options.signal }).catch(() => undefined);
  }
}

/** One connection, to its end. */
async function* readOnce(
  api: ApiClient,
  path: string,
  last: number,
  { follow, signal }: FollowOptions,
): AsyncGenerator<FollowedEvent> {
  const headers = { "last-event-id": String(last) };
  yield* eventsOf(await api.stream(`${path}?follow=${follow}`, signal, headers));
}

/** The API is restarted or away: what it says of us is final, what the network says is not. */
function isFinal(error: unknown, { follow, signal }: FollowOptions): boolean {
  if (signal.aborted) return false;
  if (!follow) return true;
  return error instanceof ApiError && error.problem.status >= 400 && error.problem.status < 500;
}

async function* eventsOf(body: ReadableStream<Uint8Array>): AsyncGenerator<FollowedEvent> {
  const messages: EventSourceMessage[] = [];
  const parser = createParser({ onEvent: (message) => messages.push(message) });
  const decoder = new TextDecoder();
  for await (const chunk of body) {
    parser.feed(decoder.decode(chunk, { stream: true }));
    for (const message of messages.splice(0)) {
      if (message.data !== "" && message.event !== "dropped")
        yield JSON.parse(message.data) as FollowedEvent;
    }
  }
}
