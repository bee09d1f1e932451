/** The bus over the client library's parts: everything that is ours, and no connection. */
import { AppError, jobLimits } from "@coxswain/domain";
import type { JetStreamClient, JetStreamManager } from "@nats-io/jetstream";
import type { Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import type { ObjectStore, Objm } from "@nats-io/obj";
import { buildAppend } from "./append.ts";
import { bucketNames } from "./buckets.ts";
import type { Bus } from "./bus.ts";
import type { Clock } from "./clock.ts";
import { consume } from "./consume.ts";
import { buildAppendRecord, followRecords } from "./decision-records.ts";
import { busError } from "./errors.ts";
import { follow } from "./follow.ts";
import { buildBucket } from "./kv.ts";
import { acquireLease } from "./lease.ts";
import { unlessReconnected } from "./reconnect.ts";
import { eventStream } from "./streams.ts";
import { buildAppendLog, followLogs } from "./worker-logs.ts";

/** What the bus uses of the client library. */
export interface BusPorts {
  readonly client: JetStreamClient;
  readonly manager: JetStreamManager;
  readonly kvm: Kvm;
  readonly objm: Objm;
  readonly core: Pick<NatsConnection, "publish" | "subscribe">;
  readonly status: {
    isConnected(): boolean;
    /** Calls back after each reconnect; returns how to stop that. */
    onReconnect(listener: () => void): () => void;
    onStatus(listener: (status: "connected" | "disconnected") => void): () => void;
  };
  readonly clock: Clock;
  readonly replicas: number;
  /** Of the server. */
  readonly version: string;
  close(): Promise<void>;
}

export function busOn(given: BusPorts): Bus {
  const { client, manager, kvm, objm, core, status, clock, replicas, close } = given;
  const { onReconnect } = status;
  const ports = { client, manager, clock, onReconnect, onForeign: () => undefined };
  const buckets = new Map(
    bucketNames.map((name) => [name, buildBucket({ kvm, clock, replicas, onReconnect }, name)]),
  );
  return {
    clock,
    append: buildAppend(ports),
    follow: (options) => follow(ports, options),
    consume: (options, handle) => consume(ports, options, handle),
    lastJobSequence: async (jobId) => {
      try {
        const query = { last_by_subj: `evt.v1.job.${jobId}` };
        return (await manager.streams.getMessage(eventStream, query))?.seq ?? 0;
      } catch (error) {
        throw busError(error, `the last fact of "${jobId}"`);
      }
    },
    bucket: (name) => buckets.get(name) as never,
    acquireLease: (role, options) =>
      acquireLease({ bucket: buckets.get("leases") as never, clock }, role, options),
    signal: (subject, payload) => {
      if (status.isConnected()) core.publish(subject, JSON.stringify(payload));
    },
    listen: (subject, options) => listen(core, subject, options.signal),
    ...buildBundles(objm, replicas, onReconnect),
    appendLog: buildAppendLog(client, status.isConnected),
    followLogs: (options) => followLogs(client, options),
    appendRecord: buildAppendRecord(client),
    followRecords: (options) => followRecords(client, options),
    server: { version: given.version },
    get isConnected() {
      return status.isConnected();
    },
    onStatus: status.onStatus,
    close,
    [Symbol.asyncDispose]: close,
  };
}

async function* listen(core: BusPorts["core"], subject: string, signal: AbortSignal) {
  const subscription = core.subscribe(subject);
  const stop = () => subscription.unsubscribe();
  signal.addEventListener("abort", stop, { once: true });
  if (signal.aborted) stop(); // Before there was a listener.
  try {
    for await (const message of subscription)
      yield { subject: message.subject, payload: message.json<unknown>() };
  } finally {
    signal.removeEventListener("abort", stop);
  }
}

function buildBundles(
  objm: Objm,
  replicas: number,
  onReconnect: BusPorts["status"]["onReconnect"],
): Pick<Bus, "putBundle" | "getBundle" | "hasBundle"> {
  let opening: Promise<ObjectStore> | undefined;
  const open = () => {
    opening ??= objm
      .create("bundles", { replicas, max_bytes: 1024 * 1024 * 1024 })
      .catch((error: unknown) => {
        opening = undefined; // The next call tries again.
        throw error;
      });
    return opening;
  };
  return {
    putBundle: async (sha256, bytes) => {
      if (bytes.length > jobLimits.bundleBytesMax)
        throw new AppError("too-large", `a bundle has at most ${jobLimits.bundleBytesMax} bytes`);
      try {
        const store = await open();
        if ((await store.info(sha256)) === null) await store.putBlob({ name: sha256 }, bytes);
      } catch (error) {
        throw busError(error, "the bundle cannot be stored");
      }
    },
    hasBundle: async (sha256) => {
      try {
        return (await (await open()).info(sha256)) !== null;
      } catch (error) {
        throw busError(error, "the bundles cannot be looked at");
      }
    },
    getBundle: async (sha256) => {
      try {
        const store = await open();
        return (await unlessReconnected(onReconnect, store.getBlob(sha256))) ?? undefined;
      } catch (error) {
        throw busError(error, "the bundle cannot be read");
      }
    },
  };
}
