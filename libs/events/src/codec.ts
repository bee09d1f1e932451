/**
 * Events on the wire: CloudEvents 1.0, binary mode over NATS headers, JSON payload.
 *
 * Decoding never throws on foreign bytes: a message that is not one of our events is a value that
 * says why, so that one bad message cannot stop a projection.
 */
import { AppError, type JobId } from "@coxswain/domain";
import { Compile, type Validator } from "@coxswain/schema";
import type { NewEvent, StoredEvent } from "./envelope.ts";
import { eventSources } from "./envelope.ts";
import { type EventName, eventNames, events } from "./events.ts";

export type Headers = Readonly<Record<string, string>>;

/** Events are small facts; bytes belong into the store. */
export const eventBytesMax = 64 * 1024;

const subjectPrefix = "evt.v1";
const typePrefix = "dev.coxswain.";
const typeSuffix = ".v1";
const validators = new Map<EventName, Validator>();

function validatorOf(name: EventName): Validator {
  let validator = validators.get(name);
  if (validator === undefined) {
    validator = Compile(events[name]) as unknown as Validator;
    validators.set(name, validator);
  }
  return validator;
}

/** The part of an event's name before the dot: job, worker, training, checkpoint, model. */
export function entityOf(name: EventName): string {
  return name.slice(0, name.indexOf("."));
}

/** `evt.v1.<entity>.<jobId>` */
export function subjectOf(name: EventName, jobId: string): string {
  return `${subjectPrefix}.${entityOf(name)}.${jobId}`;
}

/** The fewest subjects that hold these events (all when absent) of this job (all when absent). */
export function filterSubjects(names: readonly EventName[] | undefined, jobId?: string): string[] {
  const entities = names === undefined ? ["*"] : [...new Set(names.map(entityOf))].sort();
  return entities.map((entity) => `${subjectPrefix}.${entity}.${jobId ?? "*"}`);
}

/** Every subject of the log. */
export const eventSubjects = `${subjectPrefix}.>`;

/** @throws AppError `message-too-large`; a payload that breaks its schema is a bug and throws as one. */
export function encodeEvent(
  event: NewEvent,
  timeMs: number,
): { headers: Headers; body: Uint8Array } {
  const validator = validatorOf(event.name);
  if (!validator.Check(event.payload)) {
    const [first] = validator.Errors(event.payload);
    throw new TypeError(
      `payload of ${event.name} is wrong at ${first?.instancePath}: ${first?.message}`,
    );
  }
  const body = new TextEncoder().encode(JSON.stringify(event.payload));
  if (body.length > eventBytesMax) {
    throw new AppError(
      "message-too-large",
      `${event.name} has ${body.length} bytes, at most ${eventBytesMax} fit`,
    );
  }
  const headers: Record<string, string> = {
    "ce-specversion": "1.0",
    "ce-id": event.id,
    "ce-type": `${typePrefix}${event.name}${typeSuffix}`,
    "ce-source": `/coxswain/${event.source}`,
    "ce-subject": event.jobId,
    "ce-time": new Date(timeMs).toISOString(),
    "ce-datacontenttype": "application/json",
  };
  if (event.traceparent !== undefined) headers["traceparent"] = event.traceparent;
  return { headers, body };
}

export type Decoded =
  | { readonly kind: "event"; readonly event: StoredEvent }
  | { readonly kind: "foreign"; readonly reason: string };

export interface RawMessage {
  readonly subject: string;
  readonly sequence: number;
  readonly timeMs: number;
  readonly header: (name: string) => string | undefined;
  readonly body: Uint8Array;
}

/** Reads one message of the log. */
export function decodeEvent(message: RawMessage): Decoded {
  const type = message.header("ce-type") ?? "";
  const name =
    type.startsWith(typePrefix) && type.endsWith(typeSuffix)
      ? type.slice(typePrefix.length, -typeSuffix.length)
      : "";
  if (!isEventName(name)) return foreign(`unknown type ${JSON.stringify(type.slice(0, 100))}`);
  const jobId = message.subject.split(".")[3] ?? "";
  if (message.subject !== subjectOf(name, jobId))
    return foreign(`${name} on subject ${message.subject}`);
  const source = (message.header("ce-source") ?? "").replace("/coxswain/", "");
  if (!(eventSources as readonly string[]).includes(source))
    return foreign(`unknown source ${source.slice(0, 100)}`);
  const payload = parseJson(message.body);
  if (!validatorOf(name).Check(payload)) return foreign(`payload of ${name} breaks its schema`);
  const traceparent = message.header("traceparent");
  const event = {
    name,
    jobId: jobId as JobId,
    id: message.header("ce-id") ?? "",
    source,
    payload,
    sequence: message.sequence,
    timeMs: message.timeMs,
    ...(traceparent ? { traceparent } : {}),
  };
  return { kind: "event", event: event as StoredEvent };
}

export function isEventName(name: string): name is EventName {
  return (eventNames as readonly string[]).includes(name);
}

function foreign(reason: string): Decoded {
  return { kind: "foreign", reason };
}

function parseJson(body: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(body));
  } catch {
    return undefined; // Not JSON: no schema accepts undefined.
  }
}
