/**
 * Connections between the workers of a job: one a pair, made by whoever came later, authenticated both
 * ways with the job's secret before anything else (`handshake.ts`). Workers of one machine go on over
 * a Unix socket: the first words over TCP say its name.
 */
import type { Server, Socket } from "node:net";
import { crc32 } from "node:zlib";
import { FrameReader, readerBytes } from "./frame-reader.ts";
import { type Checksum, encodeControl, type Frame, type FrameHead, frameTypes } from "./frames.ts";
import {
  type ControlMessage,
  Handshake,
  type HandshakeOptions,
  parseControl,
} from "./handshake.ts";
import { type Heads, Outbox } from "./outbox.ts";
import { buildTlsWire } from "./tls-wire.ts";
import { isLocalName, listening, localName, plainWire, type Sink, type Wire } from "./wire.ts";

export type { ControlMessage } from "./handshake.ts";

export interface PeersOptions extends HandshakeOptions {
  readonly host: string;
  readonly handshakeTimeoutMs: number;
  /** CRC-32; default that of Node. */
  readonly checksum?: Checksum | undefined;
  /** False: TCP also between workers of one machine. */
  readonly isLocalAllowed?: boolean;
  /** Connections are encrypted, and who is not is refused. Default: no. */
  readonly isEncrypted?: boolean;
}

export interface PeersEvents {
  onConnected(workerId: string): void;
  /** A vector frame of an authenticated peer. Its payload is valid during the call. */
  onFrame(workerId: string, frame: Frame): void;
  /** A control message of an authenticated peer. */
  onControl(workerId: string, message: ControlMessage): void;
  /** The connection has ended; the reason is for people. */
  onLost(workerId: string, reason: string): void;
}

interface Peer {
  readonly socket: Socket;
  readonly outbox: Outbox;
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
  readonly #checksum: Checksum;
  readonly #wire: Wire;
  readonly #heads: Heads = new WeakMap();
  readonly #peers = new Map<string, Peer>();
  readonly #open = new Set<Socket>();
  readonly #servers: Server[] = [];
  #buffers: Buffer[] = [];
  #local: string | undefined;
  #heartbeatMs = Number.NEGATIVE_INFINITY;

  constructor(options: PeersOptions, events: PeersEvents) {
    this.#options = options;
    this.#events = events;
    this.#checksum = options.checksum ?? crc32;
    this.#wire = options.isEncrypted === true ? buildTlsWire(options) : plainWire;
  }

  /** Accepts peers on a free port; returns host:port. */
  async listen(): Promise<string> {
    const server = this.#wire.serve((open) => this.#accept(open));
    this.#servers.push(server);
    await listening(server, { host: this.#options.host, port: 0 });
    const name = this.#options.isLocalAllowed === false ? undefined : localName();
    if (name !== undefined) {
      const local = this.#wire.serve((open) => this.#accept(open));
      this.#servers.push(local);
      await listening(local, { path: name });
      this.#local = name;
    }
    const address = server.address();
    return `${this.#options.host}:${typeof address === "object" ? address?.port : 0}`;
  }

  /** Memory to read into, each buffer for one connection at a time; of `readerBytes`. */
  useBuffers(buffers: readonly Buffer[]): void {
    this.#buffers = [...buffers];
  }

  /** Connects and authenticates; the promise says whether it worked. */
  async connect(workerId: string, address: string): Promise<boolean> {
    if (this.#peers.has(workerId)) return true;
    const split = address.lastIndexOf(":");
    const host = address.slice(0, split);
    const port = Number(address.slice(split + 1));
    const answer = await this.#dial(workerId, { host, port, noDelay: true });
    if (typeof answer !== "object") return answer;
    return (
      (await this.#dial(workerId, { path: answer.local, isLast: true })) === true ||
      (await this.#dial(workerId, { host, port, noDelay: true, isLast: true })) === true
    );
  }

  /** True or false when it worked or did not; or where the other listens on this machine, perhaps. */
  #dial(
    workerId: string,
    { isLast, ...target }: Target,
  ): Promise<boolean | { readonly local: string }> {
    return new Promise((resolve) => {
      const handshake = new Handshake(this.#options, workerId);
      const isLocalWanted = isLast !== true && this.#local !== undefined;
      this.#run((sink) => this.#wire.dial(target, sink), { handshake, isLocalWanted, resolve });
    });
  }

  #accept(open: (sink: Sink) => Socket): void {
    const handshake = new Handshake(this.#options);
    const socket = this.#run(open, { handshake, isLocalWanted: false, resolve: () => undefined });
    if (this.#open.size > connectionsMax) socket.destroy();
    else socket.write(handshake.challenge(this.#local));
  }

  #run(open: (sink: Sink) => Socket, meeting: Meeting): Socket {
    const reader = new FrameReader(this.#checksum);
    let peer: Peer | undefined;
    let buffer: Buffer | undefined;
    let reason = "the connection closed";
    const end = (why: string) => {
      reason = why;
      socket.destroy();
    };
    const take = (frame: Frame) => {
      if (peer !== undefined) return this.#dispatch(peer, frame, end);
      peer = this.#shake(socket, meeting, frame, end);
      if (peer === undefined) return;
      clearTimeout(timer);
      buffer = this.#buffers.pop();
      reader.useBuffer(buffer ?? Buffer.allocUnsafeSlow(readerBytes));
      this.#welcome(peer, meeting);
    };
    const received = (bytes: number) => {
      if (peer !== undefined) peer.heardMs = performance.now();
      for (const parsed of reader.received(bytes)) {
        if (parsed.kind === "nonsense") return end(parsed.reason);
        take(parsed.frame);
        if (socket.destroyed) return;
      }
    };
    const socket = open({ space: () => reader.space(), received });
    this.#open.add(socket);
    const { handshakeTimeoutMs } = this.#options;
    const timer = setTimeout(() => end("the handshake took too long"), handshakeTimeoutMs);
    socket.on("error", (error) => {
      reason = error.message;
    });
    socket.on("close", () => {
      clearTimeout(timer);
      this.#open.delete(socket);
      if (buffer !== undefined) this.#buffers.push(buffer);
      meeting.resolve(false);
      if (peer === undefined || this.#peers.get(peer.workerId) !== peer) return;
      this.#peers.delete(peer.workerId);
      this.#events.onLost(peer.workerId, reason);
    });
    return socket;
  }

  #welcome(peer: Peer, meeting: Meeting): void {
    this.#peers.set(peer.workerId, peer);
    meeting.resolve(true);
    this.#events.onConnected(peer.workerId);
  }

  /** One message of the handshake; returns the peer once it is proved. */
  #shake(
    socket: Socket,
    { handshake, isLocalWanted, resolve }: Meeting,
    frame: Frame,
    end: (why: string) => void,
  ): Peer | undefined {
    const message = parseControl(frame);
    const local = message?.["local"];
    if (isLocalWanted && isLocalName(local)) {
      resolve({ local });
      end("the peer may be on this machine");
      return undefined;
    }
    const shaken = handshake.receive(message);
    const isTwice = shaken.kind === "proved" && this.#peers.has(shaken.workerId);
    if (shaken.kind === "refused" || isTwice) {
      end("the peer could not prove that it knows the job's secret");
      return undefined;
    }
    if (shaken.frame !== undefined) socket.write(shaken.frame);
    if (shaken.kind === "answered") return undefined;
    const outbox = new Outbox(socket, this.#checksum, this.#heads);
    return { socket, outbox, workerId: shaken.workerId, heardMs: performance.now() };
  }

  #dispatch(peer: Peer, frame: Frame, end: (why: string) => void): void {
    if (frame.type !== frameTypes.control) return this.#events.onFrame(peer.workerId, frame);
    const message = parseControl(frame);
    if (message === undefined) return end("a control message is no JSON object");
    if (message.kind !== "ping") this.#events.onControl(peer.workerId, message);
  }

  isConnected(workerId: string): boolean {
    return this.#peers.has(workerId);
  }

  /** Sends a whole frame; what is sent to somebody who is gone is dropped. */
  send(workerId: string, frame: Buffer): void {
    this.#to(workerId, (outbox) => outbox.push(frame));
  }

  /** Sends the frames of a vector from where it lies: it stays as it is, or see `forgetVectors`. */
  sendVector(workerId: string, head: FrameHead, vector: Float32Array): void {
    this.#to(workerId, (outbox) => outbox.pushVector(head, vector));
  }

  #to(workerId: string, push: (outbox: Outbox) => void): void {
    const peer = this.#peers.get(workerId);
    if (peer === undefined) return;
    const { socket, outbox } = peer;
    push(outbox);
    if (outbox.queuedBytes > queuedBytesMax)
      socket.destroy(new Error(`it is too slow: ${outbox.queuedBytes} bytes wait for it`));
  }

  /**
   * Vectors that wait are void. Resolves when no socket sends from their memory any more; undefined:
   * none does.
   */
  forgetVectors(): Promise<unknown> | undefined {
    const pending = [...this.#peers.values()].flatMap(({ outbox }) => outbox.forgetVectors() ?? []);
    return pending.length > 0 ? Promise.all(pending) : undefined;
  }

  tell(workerId: string, message: ControlMessage): void {
    this.send(workerId, encodeControl(message));
  }

  /** Bytes that wait for this peer. */
  queuedBytes(workerId: string): number {
    return this.#peers.get(workerId)?.outbox.queuedBytes ?? 0;
  }

  /** Resolves when nothing waits for this peer, or it is gone. */
  drained(workerId: string): Promise<void> {
    return this.#peers.get(workerId)?.outbox.drained() ?? Promise.resolve();
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
    peer?.outbox.end();
  }

  /** Sends what is queued, then closes everything. */
  async close(): Promise<void> {
    for (const server of this.#servers) server.close();
    const peers = [...this.#peers.values()];
    this.#peers.clear();
    await Promise.race([
      Promise.all(peers.map(({ outbox }) => new Promise<void>((resolve) => outbox.end(resolve)))),
      new Promise((resolve) => setTimeout(resolve, 1000)),
    ]);
    for (const socket of this.#open) socket.destroy();
  }
}

type Target = Parameters<Wire["dial"]>[0] & { readonly isLast?: boolean };

interface Meeting {
  readonly handshake: Handshake;
  /** Whether to go on over a Unix socket, where the other names one. */
  readonly isLocalWanted: boolean;
  readonly resolve: (answer: boolean | { readonly local: string }) => void;
}
