/** Connects to nats-server and gives the bus. */
import { AppError, jobLimits } from "@coxswain/domain";
import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import { type ObjectStore, Objm } from "@nats-io/obj";
import { connect } from "@nats-io/transport-node";
import { buildAppend } from "./append.ts";
import { bucketNames } from "./buckets.ts";
import type { Bus, ConnectOptions } from "./bus.ts";
import { consume } from "./consume.ts";
import { buildAppendRecord, followRecords } from "./decision-records.ts";
import { busError, isFull } from "./errors.ts";
import { follow } from "./follow.ts";
import { buildBucket } from "./kv.ts";
import { acquireLease } from "./lease.ts";
import { createStreams, eventStream, serverVersionMin } from "./streams.ts";
import { buildAppendLog, followLogs } from "./worker-logs.ts";

const connectTimeoutMsDefault = 15_000;
const streamsRetryMs = 200;

/**
 * The bus on nats-server at `url`. Streams and buckets are made when they are missing. After the
 * first connection it reconnects for ever, with jitter.
 *
 * @throws AppError `bus-unavailable`, `bus-too-old`
 */
export async function connectBus(options: ConnectOptions): Promise<Bus> {
  const deadlineMs = performance.now() + (options.connectTimeoutMs ?? connectTimeoutMsDefault);
  const connection = await open(options, deadlineMs);
  const replicas = options.replicas ?? 1;
  try {
    checkVersion(connection.info?.version ?? "0.0.0");
    return await buildBus(connection, replicas, deadlineMs);
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function open(options: ConnectOptions, deadlineMs: number): Promise<NatsConnection> {
  for (;;) {
    try {
      return await connect({
        servers: options.url,
        name: options.name,
        maxReconnectAttempts: -1,
        reconnectTimeWait: 100,
        reconnectJitter: 200,
        pingInterval: 5000,
        maxPingOut: 2,
        timeout: 2000,
        ignoreClusterUpdates: true,
      });
    } catch (error) {
      if (performance.now() >= deadlineMs)
        throw busError(error, `no nats-server answers at ${options.url}`);
      await new Promise((resolve) => setTimeout(resolve, 50));
    }
  }
}

/** @throws AppError `bus-too-old` */
export function checkVersion(version: string): void {
  const parts = version.split(/[.-]/).map(Number);
  for (const [index, min] of serverVersionMin.entries()) {
    const part = parts[index] ?? 0;
    if (part > min) return;
    if (part < min) {
      throw new AppError(
        "bus-too-old",
        `nats-server ${version} is older than ${serverVersionMin.join(".")}`,
        { details: { version } },
      );
    }
  }
}

function statusOf(connection: NatsConnection) {
  const reconnectListeners = new Set<() => void>();
  const statusListeners = new Set<(status: "connected" | "disconnected") => void>();
  let isConnected = true;
  const change = (isUp: boolean) => {
    isConnected = isUp;
    if (isUp) for (const listener of [...reconnectListeners]) listener();
    for (const listener of [...statusListeners]) listener(isUp ? "connected" : "disconnected");
  };
  const watching = (async () => {
    for await (const status of connection.status())
      if (status.type === "reconnect" || status.type === "disconnect")
        change(status.type === "reconnect");
    isConnected = false;
  })();
  return {
    watching,
    isConnected: () => isConnected && !connection.isClosed(),
    onReconnect: (listener: () => void) => {
      reconnectListeners.add(listener);
      return () => reconnectListeners.delete(listener);
    },
    onStatus: (listener: (status: "connected" | "disconnected") => void) => {
      statusListeners.add(listener);
      return () => statusListeners.delete(listener);
    },
  };
}

/** Servers that have just started have no leader yet: until the deadline that may pass. */
async function makeStreams(
  manager: JetStreamManager,
  replicas: number,
  deadlineMs: number,
): Promise<void> {
  for (;;) {
    try {
      return await createStreams(manager, replicas);
    } catch (error) {
      if (isFull(error) || performance.now() >= deadlineMs)
        throw busError(error, "the streams cannot be made");
      await new Promise((resolve) => setTimeout(resolve, streamsRetryMs));
    }
  }
}

async function buildBus(
  connection: NatsConnection,
  replicas: number,
  deadlineMs: number,
): Promise<Bus> {
  const client = jetstream(connection);
  // Streams are checked below, so the manager need not ask the account first.
  const manager = await jetstreamManager(connection, { checkAPI: false });
  await makeStreams(manager, replicas, deadlineMs);
  const status = statusOf(connection);
  const ports = { client, manager, onReconnect: status.onReconnect, onForeign: () => undefined };
  const kvm = new Kvm(client);
  const buckets = new Map(
    bucketNames.map((name) => [
      name,
      buildBucket({ kvm, replicas, onReconnect: status.onReconnect }, name),
    ]),
  );
  const bundles = buildBundles(new Objm(client), replicas);
  const close = async () => {
    await connection.close();
    await status.watching;
  };
  const bus: Bus = {
    append: buildAppend(client, manager),
    follow: (options) => follow(ports, options),
    consume: (options, handle) => consume(ports, options, handle),
    lastJobSequence: async (jobId) => {
      const last = await manager.streams.getMessage(eventStream, {
        last_by_subj: `evt.v1.job.${jobId}`,
      });
      return last?.seq ?? 0;
    },
    bucket: (name) => buckets.get(name) as never,
    acquireLease: (role, options) => acquireLease(buckets.get("leases") as never, role, options),
    signal: (subject, payload) => {
      if (status.isConnected()) connection.publish(subject, JSON.stringify(payload));
    },
    listen: (subject, options) => listen(connection, subject, options.signal),
    ...bundles,
    appendLog: buildAppendLog(client, status.isConnected),
    followLogs: (options) => followLogs(ports, options),
    appendRecord: buildAppendRecord(client),
    followRecords: (options) => followRecords(client, options),
    server: { version: connection.info?.version ?? "unknown" },
    get isConnected() {
      return status.isConnected();
    },
    onStatus: status.onStatus,
    close,
    [Symbol.asyncDispose]: close,
  };
  return bus;
}

async function* listen(connection: NatsConnection, subject: string, signal: AbortSignal) {
  const subscription = connection.subscribe(subject);
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
        return (await (await open()).getBlob(sha256)) ?? undefined;
      } catch (error) {
        throw busError(error, "the bundle cannot be read");
      }
    },
  };
}
