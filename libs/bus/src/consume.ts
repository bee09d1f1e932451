/**
 * Durable work: each event is handed to the handler at least once, one at a time, until the
 * verdict is final. What cannot be handled goes to the dead-letter stream with its reason, so that
 * one bad event never holds up the others.
 */
import { AppError } from "@coxswain/domain";
import { filterSubjects, type StoredEvent } from "@coxswain/events";
import {
  AckPolicy,
  type Consumer,
  DeliverPolicy,
  JetStreamApiError,
  type JetStreamClient,
  JetStreamError,
  type JetStreamManager,
  type JsMsg,
} from "@nats-io/jetstream";
import { headers as natsHeaders } from "@nats-io/nats-core";
import type { ConsumeOptions, Verdict } from "./bus.ts";
import type { Clock } from "./clock.ts";
import type { FollowPorts } from "./follow.ts";
import { storedEventOf } from "./follow.ts";
import { deadLetterSubject, eventStream } from "./streams.ts";

const deliveriesMaxDefault = 10;
const nakDelayMsMax = 10_000;
const ackWaitMs = 30_000;
const retryDelayMs = 250;
/** So often in a row a server that answers may refuse a reader its place. */
const refusalsMax = 8;
/** Of `JSConsumerCreateErrF`: the server cannot keep the place, such as when its files are gone. */
const placeBroken = 10_012;

/** An expected failure is retried or given up; anything else is a bug and is not caught here. */
export function verdictOf(error: unknown, deliveries: number): Verdict {
  if (!(error instanceof AppError)) throw error;
  if (!error.retryable) return { kind: "term", reason: error.message };
  return {
    kind: "nak",
    delayMs: Math.min(nakDelayMsMax, 100 * 2 ** deliveries),
    reason: error.message,
  };
}

export type Handle = (event: StoredEvent, deliveries: number) => Promise<Verdict>;

export async function consume(
  ports: FollowPorts & { readonly manager: JetStreamManager },
  options: ConsumeOptions,
  handle: Handle,
): Promise<void> {
  let refusals = 0;
  while (!options.signal.aborted) {
    const consumer = await openDurable(ports, options).catch((error: unknown) => {
      refusals = isPlaceBroken(error) ? refusals + 1 : 0; // Else the server is away.
      return undefined;
    });
    if (consumer === undefined) {
      if (refusals >= refusalsMax) await forget(ports.manager, options.durable);
      await ports.clock.delay(retryDelayMs, options.signal);
      continue;
    }
    refusals = 0;
    const messages = await consumer
      // Without its place on the server it would wait for ever.
      .consume({ max_messages: 16, idle_heartbeat: 5000, abort_on_missing_resource: true })
      .catch(() => undefined);
    if (messages === undefined) continue; // As above: opening it again waits.
    const stop = () => messages.stop();
    const stopListening = ports.onReconnect(stop);
    options.signal.addEventListener("abort", stop, { once: true });
    if (options.signal.aborted) stop(); // While the consumer was being opened.
    try {
      for await (const message of whileThere(messages))
        await deliver(ports, options, message, handle);
    } finally {
      stopListening();
      options.signal.removeEventListener("abort", stop);
      messages.stop();
    }
  }
}

const isPlaceBroken = (error: unknown) =>
  error instanceof JetStreamApiError && error.code === placeBroken;

/** A new place begins at the start of the log: handlers bear what comes again. */
async function forget(manager: JetStreamManager, durable: string): Promise<void> {
  await manager.consumers.delete(eventStream, durable).catch(() => undefined); // Next time, then.
}

/** Ends when the server has no such consumer any more: then it is opened again. */
async function* whileThere(messages: AsyncIterable<JsMsg>): AsyncGenerator<JsMsg> {
  try {
    yield* messages;
  } catch (error) {
    if (!(error instanceof JetStreamApiError || error instanceof JetStreamError)) throw error;
  }
}

async function openDurable(
  ports: { client: JetStreamClient; manager: JetStreamManager },
  options: ConsumeOptions,
): Promise<Consumer> {
  await ports.manager.consumers.add(eventStream, {
    durable_name: options.durable,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    filter_subjects: filterSubjects(options.names),
    ack_wait: ackWaitMs * 1_000_000,
    max_ack_pending: 16,
  });
  return ports.client.consumers.get(eventStream, options.durable);
}

async function deliver(
  { client, clock }: Pick<FollowPorts, "client" | "clock">,
  options: ConsumeOptions,
  message: JsMsg,
  handle: Handle,
): Promise<void> {
  const decoded = storedEventOf(message);
  if (decoded.kind === "foreign") return bury(client, options.durable, message, decoded.reason);
  if (!options.names.includes(decoded.event.name)) return message.ack();
  const deliveries = message.info.deliveryCount;
  const handled = new AbortController();
  void keepWorking(clock, message, handled.signal);
  try {
    const verdict = await handle(decoded.event, deliveries).catch((error: unknown) =>
      verdictOf(error, deliveries),
    );
    await apply(client, options, message, verdict, deliveries);
  } finally {
    handled.abort();
  }
}

/** Says that it is being handled, so that it is not delivered again meanwhile. */
async function keepWorking(clock: Clock, message: JsMsg, handled: AbortSignal): Promise<void> {
  for (;;) {
    await clock.delay(ackWaitMs / 3, handled);
    if (handled.aborted) return;
    message.working();
  }
}

async function apply(
  client: JetStreamClient,
  options: ConsumeOptions,
  message: JsMsg,
  verdict: Verdict,
  deliveries: number,
): Promise<void> {
  if (verdict.kind === "ack") return message.ack();
  if (verdict.kind === "term") return bury(client, options.durable, message, verdict.reason);
  const deliveriesMax = options.deliveriesMax ?? deliveriesMaxDefault;
  if (deliveries >= deliveriesMax)
    return bury(client, options.durable, message, `${deliveries} deliveries: ${verdict.reason}`);
  message.nak(verdict.delayMs);
}

/** Copies the message to the dead letters, then ends it. */
async function bury(
  client: JetStreamClient,
  durable: string,
  message: JsMsg,
  reason: string,
): Promise<void> {
  const headers = natsHeaders();
  for (const [name, values] of message.headers ?? []) {
    if (!name.startsWith("Nats-")) headers.set(name, values[0] ?? "");
  }
  headers.set("coxswain-reason", reason.replaceAll(/[\r\n]+/g, " ").slice(0, 1000));
  headers.set("coxswain-sequence", String(message.seq));
  try {
    await client.publish(deadLetterSubject(durable), message.data, {
      headers,
      msgID: `${durable}.${message.seq}`,
    });
  } catch {
    return message.nak(nakDelayMsMax); // The server is away: the copy comes before the end.
  }
  message.term(reason.slice(0, 200));
}
