/**
 * An event on its way: payload in the body, everything else in CloudEvents 1.0 binary-mode headers.
 *
 * `id` is deterministic (made from what the fact is about), so that saying a fact twice stores it once.
 */
import type { JobId } from "@coxswain/domain";
import type { EventName, PayloadOf } from "./events.ts";

export const eventSources = [
  "job-api",
  "scheduler",
  "autoscaler",
  "checkpoint",
  "trainer",
] as const;
export type EventSource = (typeof eventSources)[number];

/** A fact about to be said. */
export type NewEvent = {
  [Name in EventName]: {
    readonly name: Name;
    readonly jobId: JobId;
    /** Deterministic: `<jobId>.<fact>.<what makes it this one>`, at most 200 characters. */
    readonly id: string;
    readonly source: EventSource;
    readonly payload: PayloadOf<Name>;
    /** W3C trace context; the bus fills it from the active span when absent. */
    readonly traceparent?: string;
  };
}[EventName];

/** A fact as the log holds it. */
export type StoredEvent = NewEvent & {
  /** Sequence in the stream: the log's total order, and the `id` of server-sent events. */
  readonly sequence: number;
  /** When the log stored it, Unix milliseconds. */
  readonly timeMs: number;
};
