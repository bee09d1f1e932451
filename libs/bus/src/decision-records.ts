/** The scheduler's records of what it saw and decided: a stream that forgets the oldest. */
import type { JetStreamClient } from "@nats-io/jetstream";
import type { Bus } from "./bus.ts";
import { busError } from "./errors.ts";
import { readStream } from "./read-stream.ts";
import { decisionStream, decisionSubject } from "./streams.ts";

export interface StoredRecord {
  readonly sequence: number;
  readonly record: unknown;
}

const publishTimeoutMs = 2000;

export function buildAppendRecord(client: JetStreamClient): Bus["appendRecord"] {
  return async (record, { expectLastSequence } = {}) => {
    const expect =
      expectLastSequence === undefined
        ? {}
        : { expect: { lastSubjectSequence: expectLastSequence } };
    try {
      const timeout = publishTimeoutMs;
      const text = JSON.stringify(record);
      return (await client.publish(decisionSubject, text, { timeout, ...expect })).seq;
    } catch (error) {
      throw busError(error, "a record of a decision");
    }
  };
}

export async function* followRecords(
  client: JetStreamClient,
  options: { readonly follow: boolean; readonly signal: AbortSignal },
): AsyncGenerator<StoredRecord> {
  const messages = readStream(client, {
    ...options,
    stream: decisionStream,
    subject: decisionSubject,
  });
  for await (const message of messages)
    yield { sequence: message.seq, record: message.json<unknown>() };
}
