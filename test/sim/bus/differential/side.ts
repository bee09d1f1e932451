/** One side of the comparison: a stream, two durables and a bucket, on whatever server. */
import { JetStreamApiError } from "@nats-io/jetstream";
import type { KV } from "@nats-io/kv";
import type { Durable, Shape } from "./operations.ts";

export interface Delivery {
  readonly seq: number;
  readonly deliveries: number;
  ack(): Promise<void>;
  nak(delayMs: number): Promise<void>;
  term(): Promise<void>;
  working(): Promise<void>;
}

export interface Read {
  readonly pending: number;
  readonly messages: readonly (readonly [number, string, string, number])[];
}

/** Subjects are without the prefix that keeps sequences apart. */
export interface Side {
  publish(
    subject: string,
    text: string,
    options: { readonly id?: string | undefined; readonly expect?: number | undefined },
  ): Promise<{ readonly seq: number; readonly duplicate: boolean }>;
  last(subject: string): Promise<number | undefined>;
  next(seq: number, subject: string): Promise<number | undefined>;
  read(from: number, subjects: readonly string[]): Promise<Read>;
  /** Undefined when nothing may be delivered now. */
  pull(durable: string): Promise<Delivery | undefined>;
  pending(durable: string): Promise<readonly [number, number]>;
  purge(subject: string | undefined): Promise<number>;
  remove(seq: number): Promise<boolean>;
  /** A durable that waits only so long for its acks. */
  addDurable(name: string, ackWaitMs: number): Promise<void>;
  /** Lets so much time pass. */
  pass(ms: number): Promise<void>;
  bucket(): Promise<KV>;
  close(): Promise<void>;
}

export interface SideOptions {
  /** Of the stream and the bucket; a token. */
  readonly name: string;
  readonly shape: Shape;
  readonly windowMs: number;
}

export type OpenSide = (options: SideOptions) => Promise<Side>;

export const prefixed = (name: string, subject: string) =>
  subject === ">" ? `d.${name}.>` : `d.${name}.${subject}`;

export const durableNames: readonly Durable[] = ["tree", "few"];

/** What came out, or the server's code. @throws what is no answer of the server */
export async function outcomeOf(act: () => Promise<unknown>): Promise<unknown> {
  try {
    return (await act()) ?? "nothing";
  } catch (error) {
    if (error instanceof JetStreamApiError) return `error ${error.code}`;
    throw error;
  }
}
