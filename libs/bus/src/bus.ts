/**
 * The bus as the services see it. `connectBus` gives the real one, on NATS JetStream.
 *
 * One stream, `EVENTS`, holds every fact of every job: its sequence is the platform's total order.
 * The subject is `evt.v1.<entity>.<jobId>` (`entity` is the part of the event's name before the
 * dot), so that one wildcard follows one job, and a compare-and-set on `evt.v1.job.<jobId>` lets
 * only one of two writers win.
 */
import type { JobId } from "@coxswain/domain";
import type { EventName, NewEvent, StoredEvent } from "@coxswain/events";
import type { BucketName, BucketValue } from "./buckets.ts";
import type { Clock } from "./clock.ts";

export interface Appended {
  readonly sequence: number;
  /** The same id was stored before; nothing was added. */
  readonly duplicate: boolean;
}

export interface AppendOptions {
  /**
   * Refuse (`conflict`) unless this is the last sequence on the event's own subject; 0 means that
   * nothing may be there yet. Taken from `Job.lastJobSequence` of the fold.
   */
  readonly expectLastSequence?: number;
  /** Retries while the server is away end after so long; default 5000. */
  readonly timeoutMs?: number;
}

/** What a handler says of a delivery. */
export type Verdict =
  | { readonly kind: "ack" }
  | { readonly kind: "nak"; readonly delayMs: number; readonly reason: string }
  | { readonly kind: "term"; readonly reason: string };

export interface FollowOptions {
  /** First sequence wanted; default 1, the whole log. */
  readonly fromSequence?: number;
  /** Only this job's events. */
  readonly jobId?: JobId;
  /** Only these events. */
  readonly names?: readonly EventName[];
  readonly signal?: AbortSignal;
}

/** Items of `follow`: events in order, and one marker as soon as the log's present end was passed. */
export type Followed =
  | { readonly kind: "event"; readonly event: StoredEvent }
  | { readonly kind: "caught-up"; readonly sequence: number };

export interface ConsumeOptions {
  /** Durable name `<service>-<purpose>`. */
  readonly durable: string;
  readonly names: readonly EventName[];
  readonly signal: AbortSignal;
  /** Deliveries before the message goes to the dead-letter stream; default 10. */
  readonly deliveriesMax?: number;
}

/** A key's value with the revision that a compare-and-set names. */
export interface Entry<Value> {
  readonly key: string;
  readonly value: Value;
  readonly revision: number;
}

export interface Bucket<Value> {
  /** Read through the stream's leader. */
  get(key: string): Promise<Entry<Value> | undefined>;
  /** @throws AppError `conflict` when the key exists. Returns the revision. */
  create(key: string, value: Value): Promise<number>;
  /** @throws AppError `conflict` when `revision` is not the key's present one. Returns the new one. */
  update(key: string, value: Value, revision: number): Promise<number>;
  put(key: string, value: Value): Promise<number>;
  delete(key: string): Promise<void>;
  entries(): Promise<Entry<Value>[]>;
  /** Present values first, then changes; a deleted key comes with `value: undefined`. `key` may be one key or all. Survives reconnects. */
  watch(options: { readonly key?: string; readonly signal: AbortSignal }): AsyncIterable<{
    readonly key: string;
    readonly value: Value | undefined;
    readonly revision: number;
  }>;
}

/** A role held by one process at a time. `epoch` fences: it grows with each new holder. */
export interface Lease {
  readonly epoch: number;
  /** Aborts when the lease is lost or may be lost (judged by the local monotonic clock). */
  readonly lost: AbortSignal;
  release(): Promise<void>;
}

/** One line of a worker's log. */
export interface LogLine {
  readonly jobId: string;
  readonly workerId: string;
  readonly stream: "stdout" | "stderr" | "agent";
  readonly timeMs: number;
  readonly text: string;
  /** Present on lines that were read back. */
  readonly sequence?: number;
}

export interface Bus extends AsyncDisposable {
  /** By which this process waits: for the bus, and for whatever else it has to do. */
  readonly clock: Clock;
  /** Stores one fact, synced, validated against the table. Retries while the server is away, within `timeoutMs` (default 5000). @throws AppError `conflict`, `bus-unavailable`, `bus-full`, `message-too-large` */
  append(event: NewEvent, options?: AppendOptions): Promise<Appended>;
  /** Reads the log in order and goes on live, for ever, across reconnects, without gaps or repeats. */
  follow(options?: FollowOptions): AsyncIterable<Followed>;
  /** Durable work: each event at least once, one at a time per durable, until acked. Returns when `signal` aborts. */
  consume(
    options: ConsumeOptions,
    handle: (event: StoredEvent, deliveries: number) => Promise<Verdict>,
  ): Promise<void>;
  /** Last sequence on `evt.v1.job.<jobId>`, 0 when none. */
  lastJobSequence(jobId: JobId): Promise<number>;
  bucket<Name extends BucketName>(name: Name): Bucket<BucketValue<Name>>;
  /** Waits until this process holds the role. */
  acquireLease(
    role: string,
    options: { readonly ttlMs: number; readonly signal: AbortSignal },
  ): Promise<Lease>;
  /** A sign of life or other telemetry: core NATS, never stored; JSON. */
  signal(subject: string, payload: unknown): void;
  listen(
    subject: string,
    options: { readonly signal: AbortSignal },
  ): AsyncIterable<{ readonly subject: string; readonly payload: unknown }>;
  /** Program bundles by content hash (object store; at most `jobLimits.bundleBytesMax`). */
  putBundle(sha256: string, bytes: Uint8Array): Promise<void>;
  getBundle(sha256: string): Promise<Uint8Array | undefined>;
  /** Asks for the bundle's record only. */
  hasBundle(sha256: string): Promise<boolean>;
  /** Worker logs: a stream of its own with `discard: old`; best effort. */
  appendLog(line: LogLine): void;
  followLogs(options: {
    readonly jobId: string;
    readonly workerId?: string;
    readonly follow: boolean;
    readonly signal: AbortSignal;
  }): AsyncIterable<LogLine>;
  /**
   * What the scheduler saw and decided, for replay: a stream of its own with `discard: old`. Returns its
   * sequence. @throws AppError `conflict` when another record came after the expected one
   */
  appendRecord(
    record: object,
    options?: { readonly expectLastSequence?: number | undefined },
  ): Promise<number>;
  followRecords(options: {
    readonly follow: boolean;
    readonly signal: AbortSignal;
  }): AsyncIterable<{ readonly sequence: number; readonly record: unknown }>;
  readonly server: { readonly version: string };
  /** True while the connection is up. */
  readonly isConnected: boolean;
  /** Resolves after `connected`/`disconnected` changes; for status lines and health. */
  onStatus(listener: (status: "connected" | "disconnected") => void): () => void;
  close(): Promise<void>;
}

export interface ConnectOptions {
  readonly url: string;
  /** Shown by the server, and in logs: `<service>@<pid>`. */
  readonly name: string;
  /** What the server asks for, where it asks. */
  readonly token?: string | undefined;
  /** Replicas of streams and buckets: 1 or 3. Default 1. */
  readonly replicas?: number;
  /** Give up the first connection after so long; default 15000. Later reconnects go on for ever. */
  readonly connectTimeoutMs?: number;
}
