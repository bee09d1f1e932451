/**
 * What waits to be sent to one peer. Vectors go from where they lie, frame by frame, a head and its
 * numbers in one system call; a small part of them at a time is the socket's, the rest can be taken
 * back when a new generation makes it void.
 *
 * Numbers that the socket has must not change: see `Reduce` for why they do not within a generation,
 * and `forgetVectors` for the end of one.
 */
import type { Socket } from "node:net";
import { type Checksum, encodeHead, type FrameHead, payloadBytesMax } from "./frames.ts";

/** Heads of a vector's frames by offset: the same vector to several peers is checked once. */
export type Heads = WeakMap<Float32Array, Map<number, Buffer>>;

/** The head of a vector's frames; the offset is that of its first byte. */
interface Vector {
  readonly head: FrameHead;
  readonly heads: Map<number, Buffer>;
  readonly bytes: Buffer;
  sent: number;
}

/** Bytes that the socket has at a time. */
const inFlightBytesMax = 1024 * 1024;
/** Bytes of one system call. */
const batchBytes = 512 * 1024;

export class Outbox {
  readonly #socket: Socket;
  readonly #checksum: Checksum;
  readonly #heads: Heads;
  #queue: (Buffer | Vector)[] = [];
  #queuedBytes = 0;
  #inFlightBytes = 0;
  #vectorsInFlight = 0;
  readonly #idle: (() => void)[] = [];
  #settled: PromiseWithResolvers<void> | undefined;

  constructor(socket: Socket, checksum: Checksum, heads: Heads) {
    this.#socket = socket;
    this.#checksum = checksum;
    this.#heads = heads;
    socket.once("close", () => this.#closed());
  }

  get queuedBytes(): number {
    return this.#queuedBytes + this.#socket.writableLength;
  }

  /** A whole frame, which must not change any more. */
  push(frame: Buffer): void {
    if (this.#queue.length === 0) return void this.#socket.write(frame);
    this.#queue.push(frame);
    this.#queuedBytes += frame.length;
  }

  /** The frames of a vector, at least one. The same object has the same head, whomever it goes to. */
  pushVector(head: FrameHead, vector: Float32Array): void {
    const heads = this.#heads.get(vector) ?? new Map<number, Buffer>();
    this.#heads.set(vector, heads);
    const bytes = Buffer.from(vector.buffer, vector.byteOffset, vector.byteLength);
    this.#queue.push({ head, heads, bytes, sent: 0 });
    this.#queuedBytes += bytes.length;
    this.#pump();
  }

  #pump(): void {
    while (
      this.#queue.length > 0 &&
      this.#inFlightBytes < inFlightBytesMax &&
      !this.#socket.destroyed
    )
      this.#sendBatch();
    if (this.#queue.length > 0 || this.#inFlightBytes > 0) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  #sendBatch(): void {
    let bytes = 0;
    const parts: Buffer[] = [];
    while (this.#queue.length > 0 && bytes < batchBytes) {
      const first = this.#queue[0]!;
      const part = Buffer.isBuffer(first) ? [first] : this.#nextFrame(first);
      if (Buffer.isBuffer(first) || first.sent === first.bytes.length) this.#queue.shift();
      for (const { length } of part) bytes += length;
      this.#queuedBytes -= part.at(-1)!.length;
      parts.push(...part);
    }
    this.#inFlightBytes += bytes;
    this.#vectorsInFlight += 1;
    this.#socket.cork();
    for (const [index, part] of parts.entries())
      this.#socket.write(part, index === parts.length - 1 ? () => this.#sent(bytes) : undefined);
    this.#socket.uncork();
  }

  #nextFrame(vector: Vector): Buffer[] {
    const { head, heads, bytes, sent } = vector;
    const payload = bytes.subarray(sent, sent + payloadBytesMax);
    vector.sent += payload.length;
    const offset = head.offset + sent;
    const known = heads.get(sent) ?? encodeHead({ ...head, offset }, payload, this.#checksum);
    heads.set(sent, known);
    return [known, payload];
  }

  #sent(bytes: number): void {
    this.#inFlightBytes -= bytes;
    this.#vectorsInFlight -= 1;
    if (this.#vectorsInFlight === 0) this.#settle();
    this.#pump();
  }

  #settle(): void {
    this.#settled?.resolve();
    this.#settled = undefined;
  }

  #closed(): void {
    this.#queue = [];
    this.#queuedBytes = 0;
    this.#settle();
    for (const resolve of this.#idle.splice(0)) resolve();
  }

  /** Vectors that the socket does not have yet are not sent. Resolves when it has none; undefined: now. */
  forgetVectors(): Promise<void> | undefined {
    this.#queue = this.#queue.filter(Buffer.isBuffer);
    this.#queuedBytes = 0;
    for (const frame of this.#queue) this.#queuedBytes += (frame as Buffer).length;
    if (this.#vectorsInFlight === 0 || this.#socket.destroyed) return undefined;
    this.#settled ??= Promise.withResolvers();
    return this.#settled.promise;
  }

  /** Resolves when nothing waits here or in the socket, or the connection is closed. */
  drained(): Promise<void> {
    if (this.queuedBytes === 0 || this.#socket.destroyed) return Promise.resolve();
    if (this.#queue.length > 0 || this.#inFlightBytes > 0)
      return new Promise((resolve) => this.#idle.push(resolve));
    return new Promise((resolve) => this.#socket.write("", () => resolve()));
  }

  /** The last frames, then the end of the connection. */
  end(done?: () => void): void {
    void this.forgetVectors();
    for (const frame of this.#queue.splice(0)) this.#socket.write(frame as Buffer);
    this.#socket.end(done);
  }
}
