/**
 * Sockets between workers: TCP, or a Unix socket between workers of one machine. What comes is read
 * into the receiver's own memory.
 */
import { randomBytes } from "node:crypto";
import { readFileSync } from "node:fs";
import {
  connect,
  createServer,
  type NetConnectOpts,
  type Server,
  Socket,
  type SocketConstructorOpts,
} from "node:net";

/** Takes what comes from a connection. */
export interface Sink {
  /** Where the next bytes belong. */
  space(): Buffer;
  /** So many of them are there. */
  received(bytes: number): void;
}

/** A connection that waits for whom its bytes are for. */
export type Accept = (open: (sink: Sink) => Socket) => void;

/** How connections are made. */
export interface Wire {
  dial(target: NetConnectOpts, sink: Sink): Socket;
  serve(accept: Accept): Server;
}

const readInto = (sink: Sink) => ({
  buffer: () => sink.space(),
  callback: (bytes: number) => {
    sink.received(bytes);
    return true;
  },
});

/**
 * Node offers reading into own memory for sockets that connect, not for those that are accepted: the
 * same connection gets another socket around it. Without that, the bytes are copied.
 */
function open(accepted: Socket, sink: Sink): Socket {
  const inner = accepted as unknown as { _handle: object | null };
  const handle = inner._handle;
  if (typeof handle !== "object" || handle === null) return copyInto(accepted, sink);
  inner._handle = null;
  return new Socket({ handle, onread: readInto(sink) } as SocketConstructorOpts);
}

export function copyInto(socket: Socket, sink: Sink): Socket {
  socket.on("data", (chunk: Buffer) => {
    for (let at = 0; at < chunk.length && !socket.destroyed; ) {
      const bytes = chunk.copy(sink.space(), 0, at);
      at += bytes;
      sink.received(bytes);
    }
  });
  return socket;
}

export const plainWire: Wire = {
  dial: (target, sink) => connect({ ...target, onread: readInto(sink) } as NetConnectOpts),
  serve: (accept) =>
    createServer({ noDelay: true, pauseOnConnect: true }, (socket) =>
      accept((sink) => open(socket, sink)),
    ),
};

/**
 * A name in Linux' abstract namespace: no file, and seen within one network namespace only. It begins
 * with what tells machines apart; undefined where there is no such namespace.
 */
export function localName(): string | undefined {
  if (process.platform !== "linux") return undefined;
  return `${localPrefix()}${randomBytes(12).toString("hex")}`;
}

/** Whether somebody of this machine may have this name. */
export const isLocalName = (name: unknown): name is string =>
  typeof name === "string" && name.length < 100 && name.startsWith(localPrefix());

const localPrefix = () =>
  `\0coxswain-${readFileSync("/proc/sys/kernel/random/boot_id", "utf8").trim()}-`;

/** Resolves when the server listens. */
export function listening(server: Server, where: object): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once("error", reject);
    server.listen(where, resolve);
  });
}
