/** The scheduler's records of what it saw and decided: a stream that forgets the oldest. */
import { DeliverPolicy, type JetStreamClient } from "@nats-io/jetstream";
import { busError } from "./errors.ts";
import { decisionStream, decisionSubject } from "./streams.ts";

export interface StoredRecord {
  readonly sequence: number;
  readonly record: unknown;
}

const publishTimeoutMs = 2000;

export function buildAppendRecord(client: JetStreamClient): (record: object) => Promise<void> {
  return async (record) => {
    try {
      await client.publish(decisionSubject, JSON.stringify(record), { timeout: publishTimeoutMs });
    } catch (error) {
      throw busError(error, "a record of a decision");
    }
  };
}

export async function* followRecords(
  client: JetStreamClient,
  options: { readonly follow: boolean; readonly signal: AbortSignal },
): AsyncGenerator<StoredRecord> {
  const consumer = await client.consumers.get(decisionStream, {
    filter_subjects: decisionSubject,
    deliver_policy: DeliverPolicy.All,
  });
  const info = await consumer.info();
  if (!options.follow && info.num_pending === 0) return;
  const messages = await consumer.consume({ max_messages: 256 });
  const stop = () => messages.stop();
  options.signal.addEventListener("abort", stop, { once: true });
  if (options.signal.aborted) stop(); // Before there was a listener.
  try {
    for await (const message of messages) {
      yield { sequence: message.seq, record: message.json<unknown>() };
      if (!options.follow && message.info.pending === 0) return;
    }
  } finally {
    options.signal.removeEventListener("abort", stop);
    messages.stop();
  }
}
