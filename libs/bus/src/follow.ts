/**
 * Reading the log in order, for ever.
 *
 * An ordered consumer notices gaps and starts again behind the last message. It lives in the
 * server's memory, so after every reconnect it is made anew from the last sequence that was
 * handed out; what comes twice is dropped. The caller sees neither gap nor repeat.
 */
import { decodeEvent, filterSubjects, type StoredEvent } from "@coxswain/events";
import { DeliverPolicy, type JetStreamClient, type JsMsg } from "@nats-io/jetstream";
import type { Followed, FollowOptions } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { eventStream } from "./streams.ts";

const retryDelayMs = 250;
const reopenDelayMs = 10;

export interface FollowPorts {
  readonly clock: Clock;
  readonly client: JetStreamClient;
  /** Calls back after each reconnect; returns how to stop that. */
  readonly onReconnect: (listener: () => void) => () => void;
  /** A message of the log that is not one of our events. */
  readonly onForeign: (reason: string, sequence: number) => void;
}

export function storedEventOf(message: JsMsg): ReturnType<typeof decodeEvent> {
  return decodeEvent({
    subject: message.subject,
    sequence: message.seq,
    timeMs: Math.floor(Number(BigInt(message.info.timestampNanos) / 1_000_000n)),
    header: (name) => message.headers?.get(name) || undefined,
    body: message.data,
  });
}

/** Where a reader stands: what was handed out, and whether the log's first end was passed. */
interface Position {
  next: number;
  isCaughtUp: boolean;
}

export async function* follow(
  ports: FollowPorts,
  options: FollowOptions = {},
): AsyncGenerator<Followed> {
  const position: Position = { next: options.fromSequence ?? 1, isCaughtUp: false };
  while (!options.signal?.aborted) {
    const source = await openSource(ports, options, position.next).catch(() => undefined); // The server is away: try again.
    if (source !== undefined) {
      try {
        yield* readSource(ports, options, source, position);
      } finally {
        source.close();
      }
    }
    const waitMs = source === undefined ? retryDelayMs : reopenDelayMs;
    await ports.clock.delay(waitMs, options.signal);
  }
}

/** Everything that one source gives, until it ends. */
async function* readSource(
  ports: FollowPorts,
  options: FollowOptions,
  source: Awaited<ReturnType<typeof openSource>>,
  position: Position,
): AsyncGenerator<Followed> {
  const wanted = options.names === undefined ? undefined : new Set<string>(options.names);
  if (!position.isCaughtUp && source.pending === 0) {
    position.isCaughtUp = true;
    yield { kind: "caught-up", sequence: position.next - 1 };
  }
  for await (const message of source.messages) {
    if (message.seq < position.next) continue;
    position.next = message.seq + 1;
    const event = eventOf(ports, message);
    const isWanted = event !== undefined && (wanted === undefined || wanted.has(event.name));
    if (isWanted) yield { kind: "event", event };
    if (position.isCaughtUp || message.info.pending > 0) continue;
    position.isCaughtUp = true;
    yield { kind: "caught-up", sequence: message.seq };
  }
}

function eventOf(ports: FollowPorts, message: JsMsg): StoredEvent | undefined {
  const decoded = storedEventOf(message);
  if (decoded.kind === "event") return decoded.event;
  ports.onForeign(decoded.reason, message.seq);
  return undefined;
}

async function openSource(ports: FollowPorts, options: FollowOptions, next: number) {
  const consumer = await ports.client.consumers.get(eventStream, {
    filter_subjects: filterSubjects(options.names, options.jobId),
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: next,
  });
  const info = await consumer.info();
  const messages = await consumer.consume({ max_messages: 512, idle_heartbeat: 5000 });
  const stop = () => messages.stop();
  const stopListening = ports.onReconnect(stop);
  options.signal?.addEventListener("abort", stop, { once: true });
  if (options.signal?.aborted) stop(); // While the source was being opened.
  return {
    messages,
    pending: info.num_pending,
    close: () => {
      stopListening();
      options.signal?.removeEventListener("abort", stop);
      messages.stop();
      // Else the server keeps it for minutes.
      consumer.delete().catch(() => undefined);
    },
  };
}
