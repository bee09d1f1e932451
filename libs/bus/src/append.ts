/**
 * Appending one fact: validated, stored and synced once, or refused.
 *
 * A publish that times out may or may not have been stored. It is sent again with the same id: the
 * server answers "duplicate" when the first one made it. It looks at the last sequence before it
 * looks at ids, though: so after a conflict the message right behind the expected one says who won,
 * and when it is our own, nothing was lost, whatever others have appended since.
 */
import { AppError } from "@coxswain/domain";
import { encodeEvent, type NewEvent, subjectOf } from "@coxswain/events";
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import { headers as natsHeaders } from "@nats-io/nats-core";
import { context, isSpanContextValid, trace } from "@opentelemetry/api";
import type { Appended, AppendOptions } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { busError, isConflict, isFull } from "./errors.ts";
import { eventStream } from "./streams.ts";

/** Publishes that wait for their answer at once; one more is refused with `overloaded`. */
const inFlightMax = 512;
const attemptTimeoutMs = 2000;
const appendTimeoutMs = 5000;

export function activeTraceparent(): string | undefined {
  const span = trace.getSpanContext(context.active());
  if (span === undefined || !isSpanContextValid(span)) return undefined;
  return `00-${span.traceId}-${span.spanId}-${String(span.traceFlags).padStart(2, "0")}`;
}

export interface AppendPorts {
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly clock: Clock;
}

export function buildAppend(ports: AppendPorts) {
  let inFlight = 0;
  return async (event: NewEvent, options: AppendOptions = {}): Promise<Appended> => {
    if (inFlight >= inFlightMax)
      throw new AppError("overloaded", `${inFlightMax} events wait to be stored`);
    inFlight += 1;
    try {
      return await appendWithRetries(ports, event, options);
    } finally {
      inFlight -= 1;
    }
  };
}

function wireOf(event: NewEvent, nowMs: number) {
  const traceparent = event.traceparent ?? activeTraceparent();
  const traced = traceparent === undefined ? event : { ...event, traceparent };
  const message = encodeEvent(traced, nowMs);
  const headers = natsHeaders();
  for (const [name, value] of Object.entries(message.headers)) headers.set(name, value);
  return { subject: subjectOf(event.name, event.jobId), headers, body: message.body };
}

async function appendWithRetries(
  { client, manager, clock }: AppendPorts,
  event: NewEvent,
  options: AppendOptions,
): Promise<Appended> {
  const deadlineMs = clock.nowMs() + (options.timeoutMs ?? appendTimeoutMs);
  const { subject, headers, body } = wireOf(event, clock.wallMs());
  const expect =
    options.expectLastSequence === undefined
      ? {}
      : { expect: { lastSubjectSequence: options.expectLastSequence } };

  for (let attempt = 0; ; attempt += 1) {
    try {
      const ack = await client.publish(subject, body, {
        msgID: event.id,
        headers,
        timeout: Math.max(100, Math.min(attemptTimeoutMs, deadlineMs - clock.nowMs())),
        retries: 1,
        ...expect,
      });
      return { sequence: ack.seq, duplicate: ack.duplicate };
    } catch (error) {
      const own = isConflict(error)
        ? await ownSequence(manager, subject, event.id, options.expectLastSequence ?? 0)
        : undefined;
      if (own !== undefined) return { sequence: own, duplicate: true };
      if (isConflict(error) || isFull(error) || clock.nowMs() >= deadlineMs)
        throw busError(error, `${event.name} of "${event.jobId}"`);
      await clock.delay(Math.min(50 * 2 ** attempt, 500));
    }
  }
}

/** The sequence of the first message behind `expected` when it is the event with this id. */
async function ownSequence(
  manager: JetStreamManager,
  subject: string,
  id: string,
  expected: number,
): Promise<number | undefined> {
  try {
    const query = { seq: expected + 1, next_by_subj: subject };
    const winner = await manager.streams.getMessage(eventStream, query);
    return winner?.header.get("ce-id") === id ? winner.seq : undefined;
  } catch (error) {
    throw busError(error, `who wrote first on ${subject}`);
  }
}
