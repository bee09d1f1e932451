/** A stream from its beginning: to its present end, or on and on. */
import { type Consumer, DeliverPolicy, type JetStreamClient, type JsMsg } from "@nats-io/jetstream";

/** Messages that may wait for their reader. */
const waitingMax = 256;

export interface ReadOptions {
  readonly stream: string;
  readonly subject: string;
  /** Goes on after the end, until `signal` aborts. */
  readonly follow: boolean;
  readonly signal: AbortSignal;
}

export async function* readStream(
  client: JetStreamClient,
  { stream, subject, follow, signal }: ReadOptions,
): AsyncGenerator<JsMsg> {
  const consumer = await client.consumers.get(stream, {
    filter_subjects: subject,
    deliver_policy: DeliverPolicy.All,
  });
  try {
    const info = await consumer.info();
    if (follow || info.num_pending > 0) yield* readConsumer(consumer, { follow, signal });
  } finally {
    // Else the server keeps it for minutes.
    consumer.delete().catch(() => undefined);
  }
}

async function* readConsumer(
  consumer: Consumer,
  { follow, signal }: Pick<ReadOptions, "follow" | "signal">,
): AsyncGenerator<JsMsg> {
  const messages = await consumer.consume({ max_messages: waitingMax });
  const stop = () => messages.stop();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop(); // Before there was a listener.
  try {
    for await (const message of messages) {
      yield message;
      if (!follow && message.info.pending === 0) return;
    }
  } finally {
    signal.removeEventListener("abort", stop);
    messages.stop();
  }
}
