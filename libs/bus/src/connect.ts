/** Connects to nats-server and gives the bus. */
import { AppError } from "@coxswain/domain";
import { type JetStreamManager, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { Kvm } from "@nats-io/kv";
import type { NatsConnection } from "@nats-io/nats-core";
import { Objm } from "@nats-io/obj";
import { connect } from "@nats-io/transport-node";
import type { Bus, ConnectOptions } from "./bus.ts";
import { type BusPorts, busOn } from "./bus-on.ts";
import { systemClock } from "./clock.ts";
import { busError, isFull } from "./errors.ts";
import { createStreams, serverVersionMin } from "./streams.ts";

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
    return busOn(await portsOf(connection, replicas, deadlineMs));
  } catch (error) {
    await connection.close();
    throw error;
  }
}

async function open(options: ConnectOptions, deadlineMs: number): Promise<NatsConnection> {
  const servers = options.url.split(",");
  for (;;) {
    try {
      const connection = await connect({
        servers,
        name: options.name,
        ...(options.token === undefined ? {} : { token: options.token }),
        maxReconnectAttempts: -1,
        reconnectTimeWait: 100,
        reconnectJitter: 200,
        pingInterval: 5000,
        maxPingOut: 2,
        timeout: 2000,
        ignoreClusterUpdates: true,
      });
      // The client forgets servers that did not answer while it connected for the first time.
      connection.setServers(servers);
      return connection;
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

async function portsOf(
  connection: NatsConnection,
  replicas: number,
  deadlineMs: number,
): Promise<BusPorts> {
  const client = jetstream(connection);
  // Streams are checked below, so the manager need not ask the account first.
  const manager = await jetstreamManager(connection, { checkAPI: false });
  await makeStreams(manager, replicas, deadlineMs);
  const status = statusOf(connection);
  return {
    ...{ client, manager, status, replicas, clock: systemClock },
    kvm: new Kvm(client),
    objm: new Objm(client),
    core: connection,
    version: connection.info?.version ?? "unknown",
    close: async () => {
      await connection.close();
      await status.watching;
    },
  };
}
