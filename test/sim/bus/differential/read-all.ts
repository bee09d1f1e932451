/** Reads what an ordered consumer gives up to the present end, as `follow` does. */
import { DeliverPolicy, type JetStreamClient } from "@nats-io/jetstream";
import type { Read } from "./side.ts";

export async function readAll(
  client: Pick<JetStreamClient, "consumers">,
  options: {
    readonly stream: string;
    readonly prefix: string;
    readonly from: number;
    readonly filters: string[];
  },
): Promise<Read> {
  const { stream, prefix, from, filters } = options;
  const consumer = await client.consumers.get(stream, {
    filter_subjects: filters,
    deliver_policy: DeliverPolicy.StartSequence,
    opt_start_seq: from,
  });
  const { num_pending: pending } = await consumer.info();
  if (pending === 0) return { pending, messages: [] };
  const messages: [number, string, string, number][] = [];
  const source = await consumer.consume({ max_messages: 64 });
  try {
    for await (const message of source) {
      const { seq, subject, data, info } = message;
      const text = new TextDecoder().decode(data);
      messages.push([seq, subject.slice(prefix.length), text, info.pending]);
      if (info.pending === 0) break;
    }
  } finally {
    source.stop();
  }
  return { pending, messages };
}
