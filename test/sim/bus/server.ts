/**
 * What nats-server does with streams, as far as the platform relies on it: sequences, expected
 * sequences, ids within a window, limits, durable consumers. No clock, no network: the time is an
 * argument, and one contract (test/contract) holds it and the real one.
 */
import { JetStreamApiError } from "@nats-io/jetstream";

export interface StoredMessage {
  readonly seq: number;
  readonly subject: string;
  readonly headers: ReadonlyMap<string, string>;
  readonly data: Uint8Array;
  readonly timeMs: number;
}

export interface StreamOptions {
  readonly name: string;
  /** With `*` and `>`. */
  readonly subjects: readonly string[];
  readonly maxBytes?: number;
  readonly maxMsgsPerSubject?: number;
  /** Refuses when full, or forgets the oldest. */
  readonly discard?: "new" | "old";
  readonly duplicateWindowMs?: number;
}

export interface ConsumerOptions {
  readonly name: string;
  readonly filters: readonly string[];
  readonly ackWaitMs: number;
  readonly maxAckPending: number;
}

const messages: Readonly<Record<number, string>> = {
  10014: "consumer not found",
  10037: "no message found",
  10059: "stream not found",
  10071: "wrong last sequence",
  10077: "maximum bytes exceeded",
};

export function apiError(code: number, details = ""): JetStreamApiError {
  const description = `${messages[code] ?? "error"}${details}`;
  return new JetStreamApiError({ code: 400, err_code: code, description });
}

/** Whether a subject is one that the pattern means. */
export function matches(pattern: string, subject: string): boolean {
  const wanted = pattern.split(".");
  const tokens = subject.split(".");
  for (const [index, token] of wanted.entries()) {
    if (token === ">") return tokens.length > index;
    if (tokens[index] === undefined || (token !== "*" && token !== tokens[index])) return false;
  }
  return tokens.length === wanted.length;
}

const overheadBytes = 30;

function sizeOf({ subject, headers, data }: Omit<StoredMessage, "seq" | "timeMs">): number {
  // NATS/1.0\r\n, then each header with ": " and \r\n, then \r\n.
  let head = headers.size === 0 ? 0 : 12;
  for (const [name, value] of headers) head += name.length + value.length + 4;
  return overheadBytes + subject.length + data.length + head + (head > 0 ? 4 : 0);
}

export class Stream {
  readonly options: StreamOptions;
  maxBytes: number;
  lastSequence = 0;
  #bytes = 0;
  readonly #messages = new Map<number, StoredMessage>();
  readonly #bySubject = new Map<string, number[]>();
  readonly #ids = new Map<string, { readonly seq: number; readonly atMs: number }>();
  readonly consumers = new Map<string, Consumer>();
  readonly #listeners = new Set<() => void>();

  constructor(options: StreamOptions) {
    this.options = options;
    this.maxBytes = options.maxBytes ?? Number.POSITIVE_INFINITY;
  }

  get #perSubjectMax(): number {
    return this.options.maxMsgsPerSubject ?? Number.POSITIVE_INFINITY;
  }

  /** Called after each change that may give a reader something. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  changed(): void {
    for (const listener of [...this.#listeners]) listener();
  }

  lastOf(subject: string): StoredMessage | undefined {
    const seq = this.#bySubject.get(subject)?.at(-1);
    return seq === undefined ? undefined : this.#messages.get(seq);
  }

  /** The first message at or behind `seq` that a filter matches. */
  next(seq: number, filters: readonly string[]): StoredMessage | undefined {
    for (let at = Math.max(1, seq); at <= this.lastSequence; at += 1) {
      const message = this.#messages.get(at);
      if (message !== undefined && filters.some((filter) => matches(filter, message.subject)))
        return message;
    }
    return undefined;
  }

  /** Messages at or behind `seq` that a filter matches. */
  pending(seq: number, filters: readonly string[]): number {
    let count = 0;
    for (let at = this.next(seq, filters); at !== undefined; at = this.next(at.seq + 1, filters))
      count += 1;
    return count;
  }

  get(seq: number): StoredMessage | undefined {
    return this.#messages.get(seq);
  }

  subjects(): readonly string[] {
    return [...this.#bySubject.keys()];
  }

  /** @throws JetStreamApiError as the server does: ids are looked at after the expected sequence. */
  publish(
    message: Pick<StoredMessage, "subject" | "headers" | "data">,
    nowMs: number,
  ): { readonly seq: number; readonly duplicate: boolean } {
    const { subject, headers } = message;
    const expected = headers.get("Nats-Expected-Last-Subject-Sequence");
    const last = this.lastOf(subject)?.seq ?? 0;
    if (expected !== undefined && Number(expected) !== last) throw apiError(10071, `: ${last}`);
    const id = headers.get("Nats-Msg-Id");
    const known = id === undefined ? undefined : this.#knownId(id, nowMs);
    if (known !== undefined) return { seq: known, duplicate: true };
    this.#refuseWhenFull(subject, sizeOf(message));
    this.lastSequence += 1;
    const seq = this.lastSequence;
    this.#store({ ...message, seq, timeMs: nowMs });
    if (id !== undefined) this.#ids.set(id, { seq, atMs: nowMs });
    this.#trim(subject);
    this.#forgetOldest();
    this.changed();
    return { seq, duplicate: false };
  }

  #knownId(id: string, nowMs: number): number | undefined {
    const known = this.#ids.get(id);
    const isKnown =
      known !== undefined && nowMs - known.atMs < (this.options.duplicateWindowMs ?? 120_000);
    return isKnown ? known.seq : undefined;
  }

  /** @throws JetStreamApiError 10077; where the new one takes an older one's place, that counts. */
  #refuseWhenFull(subject: string, bytes: number): void {
    if (this.options.discard !== "new" || this.#bytes + bytes <= this.maxBytes) return;
    const own = this.#bySubject.get(subject) ?? [];
    const replaced = own.length >= this.#perSubjectMax ? this.#messages.get(own[0]!) : undefined;
    if (replaced === undefined || sizeOf(replaced) <= bytes) throw apiError(10077);
  }

  #forgetOldest(): void {
    for (const seq of this.#messages.keys()) {
      if (this.#bytes <= this.maxBytes) return;
      this.remove(seq);
    }
  }

  #store(message: StoredMessage): void {
    this.#messages.set(message.seq, message);
    this.#bytes += sizeOf(message);
    const all = this.#bySubject.get(message.subject) ?? [];
    all.push(message.seq);
    this.#bySubject.set(message.subject, all);
  }

  #trim(subject: string): void {
    const own = this.#bySubject.get(subject)!;
    for (const seq of own.slice(0, -this.#perSubjectMax)) this.remove(seq);
  }

  remove(seq: number): void {
    const message = this.#messages.get(seq);
    if (message === undefined) return;
    this.#messages.delete(seq);
    this.#bytes -= sizeOf(message);
    const rest = this.#bySubject.get(message.subject)!.filter((other) => other !== seq);
    if (rest.length > 0) this.#bySubject.set(message.subject, rest);
    else this.#bySubject.delete(message.subject);
    for (const consumer of this.consumers.values()) consumer.forget(seq);
  }

  /** Removes what a filter matches; returns how many. */
  purge(filter: string, nowMs: number): number {
    const seqs = [...this.#messages.values()]
      .filter(({ subject }) => matches(filter, subject))
      .map(({ seq }) => seq);
    for (const seq of seqs) this.remove(seq);
    for (const consumer of this.consumers.values()) consumer.purged(filter, nowMs);
    return seqs.length;
  }

  /** Whether there was one. */
  deleteMessage(seq: number): boolean {
    const isThere = this.#messages.has(seq);
    this.remove(seq);
    return isThere;
  }

  addConsumer(options: ConsumerOptions): Consumer {
    const consumer = this.consumers.get(options.name) ?? new Consumer(this, options);
    this.consumers.set(options.name, consumer);
    return consumer;
  }
}

interface Pending {
  deliveries: number;
  /** When it is delivered again unless it was acked. */
  dueMs: number;
}

/** A durable pull consumer with explicit acks. */
export class Consumer {
  readonly #stream: Stream;
  readonly options: ConsumerOptions;
  #nextSequence = 1;
  readonly #pending = new Map<number, Pending>();

  constructor(stream: Stream, options: ConsumerOptions) {
    this.#stream = stream;
    this.options = options;
  }

  get ackPending(): number {
    return this.#pending.size;
  }

  get numPending(): number {
    return this.#stream.pending(this.#nextSequence, this.options.filters);
  }

  /** The next delivery, if one is due: what must come again first, then what is new. */
  take(
    nowMs: number,
  ): { readonly message: StoredMessage; readonly deliveries: number } | undefined {
    const due = [...this.#pending]
      .filter(([, { dueMs }]) => dueMs <= nowMs)
      .sort(([a, { dueMs: dueA }], [b, { dueMs: dueB }]) => dueA - dueB || a - b)[0];
    if (due !== undefined) {
      const [seq, pending] = due;
      const message = this.#stream.get(seq)!;
      pending.deliveries += 1;
      pending.dueMs = nowMs + this.options.ackWaitMs;
      return { message, deliveries: pending.deliveries };
    }
    if (this.#pending.size >= this.options.maxAckPending) return undefined;
    const message = this.#stream.next(this.#nextSequence, this.options.filters);
    if (message === undefined) return undefined;
    this.#nextSequence = message.seq + 1;
    this.#pending.set(message.seq, { deliveries: 1, dueMs: nowMs + this.options.ackWaitMs });
    return { message, deliveries: 1 };
  }

  /** When the next redelivery is due; undefined when nothing waits. */
  get dueMs(): number | undefined {
    const dues = [...this.#pending.values()].map(({ dueMs }) => dueMs);
    return dues.length === 0 ? undefined : Math.min(...dues);
  }

  /** The message was removed: nobody need answer it. */
  forget(seq: number): void {
    this.#pending.delete(seq);
  }

  /** nats-server forgets then what was to come again at once; the ack wait brings it back. */
  purged(filter: string, nowMs: number): void {
    const isOurs = (own: string) => matches(filter, own) || matches(own, filter);
    if (!this.options.filters.some(isOurs)) return;
    for (const pending of this.#pending.values())
      if (pending.dueMs <= nowMs) pending.dueMs = nowMs + this.options.ackWaitMs;
  }

  /** What is not acked comes again now, as when an ack was lost long ago. */
  hurry(nowMs: number): void {
    for (const pending of this.#pending.values()) pending.dueMs = nowMs;
    this.#stream.changed();
  }

  ack(seq: number): void {
    if (this.#pending.delete(seq)) this.#stream.changed();
  }

  nak(seq: number, nowMs: number, delayMs: number): void {
    const pending = this.#pending.get(seq);
    if (pending === undefined) return;
    pending.dueMs = nowMs + delayMs;
    this.#stream.changed();
  }

  working(seq: number, nowMs: number): void {
    const pending = this.#pending.get(seq);
    if (pending !== undefined) pending.dueMs = nowMs + this.options.ackWaitMs;
  }
}

type Receive = (subject: string, data: string, headers: ReadonlyMap<string, string>) => void;

/** All streams of a server, and its core subjects. */
export class BusServer {
  readonly streams = new Map<string, Stream>();
  readonly #subscriptions = new Set<{
    readonly pattern: string;
    readonly receive: Receive;
  }>();
  readonly objects = new Map<string, Uint8Array>();

  /** What exists stays as it is. */
  addStream(options: StreamOptions): Stream {
    const stream = this.streams.get(options.name) ?? new Stream(options);
    this.streams.set(options.name, stream);
    return stream;
  }

  /** @throws JetStreamApiError 10059 */
  stream(name: string): Stream {
    const stream = this.streams.get(name);
    if (stream === undefined) throw apiError(10059);
    return stream;
  }

  /** The stream that takes this subject. @throws JetStreamApiError 10059 */
  streamOf(subject: string): Stream {
    for (const stream of this.streams.values())
      if (stream.options.subjects.some((pattern) => matches(pattern, subject))) return stream;
    throw apiError(10059);
  }

  subscribe(pattern: string, receive: Receive): () => void {
    const subscription = { pattern, receive };
    this.#subscriptions.add(subscription);
    return () => this.#subscriptions.delete(subscription);
  }

  /** Core NATS: whoever listens now. */
  tell(subject: string, data: string, headers: ReadonlyMap<string, string> = new Map()): void {
    for (const { pattern, receive } of [...this.#subscriptions])
      if (matches(pattern, subject)) receive(subject, data, headers);
  }
}
