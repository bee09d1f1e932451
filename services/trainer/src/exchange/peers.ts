/**
 * Connections between the workers of a job: one TCP connection a pair, made by whoever came later,
 * authenticated both ways with the job's secret before anything else.
 *
 *   accepting -> challenge {nonce}
 *   connecting -> answer {workerId, nonce, mac}     mac = HMAC-SHA256(secret, role | nonces | ids)
 *   accepting -> welcome {workerId, mac}
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import { encodeControl, type Frame, FrameParser, frameTypes } from "./frames.ts";

export interface PeersOptions {
  readonly jobId: string;
  readonly workerId: string;
  readonly secret: string;
  readonly host: string;
  readonly handshakeTimeoutMs: number;
}

export interface PeersEvents {
  onConnected(workerId: string): void;
  /** A vector frame of an authenticated peer. */
  onFrame(workerId: string, frame: Frame): void;
  /** A control message of an authenticated peer. */
  onControl(workerId: string, message: ControlMessage): void;
  /** The connection has ended; the reason is for people. */
  onLost(workerId: string, reason: string): void;
}

export type ControlMessage = { readonly kind: string } & Readonly<Record<string, unknown>>;

interface Peer {
  readonly socket: Socket;
  readonly workerId: string;
  /** Monotonic ms of the last byte. */
  heardMs: number;
}

const connectionsMax = 256;
/** Bytes that may wait for a peer: it takes less than training makes. */
const queuedBytesMax = 1024 * 1024 * 1024;

export class Peers {
  readonly #options: PeersOptions;
  readonly #events: PeersEvents;
  readonly #peers = new Map<string, Peer>();
  readonly #open = new Set<Socket>();
  #server: Server | undefined;
  #heartbeatMs = Number.NEGATIVE_INFINITY;

  constructor(options: PeersOptions, events: PeersEvents) {
    this.#options = options;
    this.#events = events;
  }

  /** Accepts peers on a free port; returns host:port. */
  async listen(): Promise<string> {
    const server = createServer({ noDelay: true }, (socket) => this.#accept(socket));
    server.maxConnections = connectionsMax;
    this.#server = server;
    await new Promise<void>((resolve, reject) => {
      server.once("error", reject);
      server.listen({ host: this.#options.host, port: 0 }, resolve);
    });
    const address = server.address();
    return `${this.#options.host}:${typeof address === "object" ? address?.port : 0}`;
  }

  /** Connects and authenticates; the promise says whether it worked. */
  connect(workerId: string, address: string): Promise<boolean> {
    if (this.#peers.has(workerId)) return Promise.resolve(true);
    const split = address.lastIndexOf(":");
    const socket = connect({
      host: address.slice(0, split),
      port: Number(address.slice(split + 1)),
      noDelay: true,
    });
    return new Promise((resolve) => {
      const handshake = {
        role: "connecting",
        expected: workerId,
        nonce: randomBytes(16).toString("hex"),
        resolve,
      } as const;
      this.#run(socket, handshake);
    });
  }

  #accept(socket: Socket): void {
    const nonce = randomBytes(16).toString("hex");
    this.#run(socket, { role: "accepting", nonce, resolve: () => undefined });
    socket.write(encodeControl({ kind: "challenge", nonce }));
  }

  #run(socket: Socket, handshake: Handshake): void {
    this.#open.add(socket);
    const parser = new FrameParser();
    let peer: Peer | undefined;
    let reason = "the connection closed";
    const timer = setTimeout(
      () => end("the handshake took too long"),
      this.#options.handshakeTimeoutMs,
    );
    const end = (why: string) => {
      reason = why;
      socket.destroy();
    };
    socket.on("data", (chunk: Buffer) => {
      if (peer !== undefined) peer.heardMs = performance.now();
      for (const parsed of parser.feed(chunk)) {
        if (parsed.kind === "nonsense") return end(parsed.reason);
        if (peer === undefined) {
          peer = this.#shake(socket, handshake, parsed.frame, end);
          if (peer === undefined) continue;
          clearTimeout(timer);
          this.#welcome(peer, handshake);
        } else {
          this.#dispatch(peer, parsed.frame, end);
        }
        if (socket.destroyed) return;
      }
    });
    socket.on("error", (error) => {
      reason = error.message;
    });
    socket.on("close", () => {
      clearTimeout(timer);
      this.#open.delete(socket);
      handshake.resolve(false);
      if (peer === undefined || this.#peers.get(peer.workerId) !== peer) return;
      this.#peers.delete(peer.workerId);
      this.#events.onLost(peer.workerId, reason);
    });
  }

  #welcome(peer: Peer, handshake: Handshake): void {
    this.#peers.set(peer.workerId, peer);
    handshake.resolve(true);
    this.#events.onConnected(peer.workerId);
  }

  /** One message of the handshake; returns the peer once it is proved. */
  #shake(
    socket: Socket,
    handshake: Handshake,
    frame: Frame,
    end: (why: string) => void,
  ): Peer | undefined {
    const message = frame.type === frameTypes.control ? parseControl(frame.payload) : undefined;
    const own = this.#options.workerId;
    const proved = (workerId: string): Peer => ({ socket, workerId, heardMs: performance.now() });
    if (handshake.role === "connecting" && message?.kind === "challenge") {
      const nonces = `${message["nonce"]}|${handshake.nonce}`;
      handshake.nonces = nonces;
      const mac = this.#mac("answer", nonces, own);
      socket.write(encodeControl({ kind: "answer", workerId: own, nonce: handshake.nonce, mac }));
      return undefined;
    }
    if (
      handshake.role === "connecting" &&
      message?.kind === "welcome" &&
      message["workerId"] === handshake.expected
    ) {
      if (this.#isMac(message["mac"], "welcome", handshake.nonces ?? "", handshake.expected))
        return proved(handshake.expected);
    }
    if (handshake.role === "accepting" && message?.kind === "answer") {
      const workerId = String(message["workerId"]);
      const nonces = `${handshake.nonce}|${message["nonce"]}`;
      if (this.#isMac(message["mac"], "answer", nonces, workerId) && !this.#peers.has(workerId)) {
        socket.write(
          encodeControl({ kind: "welcome", workerId: own, mac: this.#mac("welcome", nonces, own) }),
        );
        return proved(workerId);
      }
    }
    end("the peer could not prove that it knows the job's secret");
    return undefined;
  }

  #mac(role: string, nonces: string, workerId: string): string {
    return createHmac("sha256", this.#options.secret)
      .update(`${role}|${this.#options.jobId}|${workerId}|${nonces}`)
      .digest("hex");
  }

  #isMac(given: unknown, role: string, nonces: string, workerId: string): boolean {
    const expected = Buffer.from(this.#mac(role, nonces, workerId));
    const actual = Buffer.from(String(given));
    return actual.length === expected.length && timingSafeEqual(actual, expected);
  }

  #dispatch(peer: Peer, frame: Frame, end: (why: string) => void): void {
    if (frame.type !== frameTypes.control) return this.#events.onFrame(peer.workerId, frame);
    const message = parseControl(frame.payload);
    if (message === undefined) return end("a control message is no JSON object");
    if (message.kind !== "ping") this.#events.onControl(peer.workerId, message);
  }

  isConnected(workerId: string): boolean {
    return this.#peers.has(workerId);
  }

  /** Sends a whole frame; what is sent to somebody who is gone is dropped. */
  send(workerId: string, frame: Buffer): void {
    const socket = this.#peers.get(workerId)?.socket;
    socket?.write(frame);
    if (socket !== undefined && socket.writableLength > queuedBytesMax)
      socket.destroy(new Error(`it is too slow: ${socket.writableLength} bytes wait for it`));
  }

  tell(workerId: string, message: ControlMessage): void {
    this.send(workerId, encodeControl(message));
  }

  /** Bytes that wait in the socket for this peer. */
  queuedBytes(workerId: string): number {
    return this.#peers.get(workerId)?.socket.writableLength ?? 0;
  }

  /** Resolves when nothing waits in the socket for this peer, or it is gone. */
  drained(workerId: string): Promise<void> {
    const socket = this.#peers.get(workerId)?.socket;
    if (socket === undefined || !socket.writableNeedDrain) return Promise.resolve();
    return new Promise((resolve) => {
      const done = () => {
        socket.off("drain", done);
        socket.off("close", done);
        resolve();
      };
      socket.on("drain", done);
      socket.on("close", done);
    });
  }

  /**
   * Says a sign of life to everybody and ends connections that have been silent for too long. When
   * this process itself was held up, what the others said still waits in the sockets: not this time.
   */
  heartbeat(timeoutMs: number): void {
    const nowMs = performance.now();
    const wasHeldUp = nowMs - this.#heartbeatMs > timeoutMs / 2;
    this.#heartbeatMs = nowMs;
    if (wasHeldUp)
      for (const peer of this.#peers.values())
        peer.heardMs = Math.max(peer.heardMs, nowMs - timeoutMs / 2);
    for (const peer of [...this.#peers.values()]) {
      if (nowMs - peer.heardMs > timeoutMs)
        peer.socket.destroy(new Error(`no sign of life for ${timeoutMs} ms`));
      else this.tell(peer.workerId, { kind: "ping" });
    }
  }

  /** Ends a connection without calling it a loss. */
  drop(workerId: string): void {
    const peer = this.#peers.get(workerId);
    this.#peers.delete(workerId);
    peer?.socket.end();
  }

  /** Sends what is queued, then closes everything. */
  async close(): Promise<void> {
    this.#server?.close();
    const peers = [...this.#peers.values()];
    this.#peers.clear();
    await Promise.race([
      Promise.all(peers.map(({ socket }) => new Promise<void>((resolve) => socket.end(resolve)))),
      new Promise((resolve) => setTimeout(resolve, 1000)),
    ]);
    for (const socket of this.#open) socket.destroy();
  }
}

type Handshake = {
  readonly nonce: string;
  readonly resolve: (worked: boolean) => void;
  nonces?: string;
} & ({ readonly role: "accepting" } | { readonly role: "connecting"; readonly expected: string });

function parseControl(payload: Uint8Array): ControlMessage | undefined {
  try {
    const message = JSON.parse(Buffer.from(payload).toString("utf8")) as ControlMessage;
    return typeof message === "object" && message !== null && typeof message.kind === "string"
      ? message
      : undefined;
  } catch {
    return undefined; // Not JSON.
  }
}
