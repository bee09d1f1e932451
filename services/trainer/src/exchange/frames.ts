/**
 * Frames between workers: a fixed header of 32 bytes, little-endian, then the payload.
 *
 *   0 magic u32 | 4 type u8 | 5 zero u8 | 6 lo u16 | 8 size u16 | 10 slice u16 | 12 generation u32
 *   16 step u32 | 20 offset u32 (bytes) | 24 length u32 (bytes) | 28 crc32 of all the rest u32
 *
 * Anything that is not such a frame closes the connection.
 */
import { crc32 } from "node:zlib";

export const frameTypes = {
  control: 1,
  piece: 2,
  result: 3,
  reduced: 4,
  snapshot: 5,
  /** As piece and result, but the numbers stay where they are: see `Place`. */
  pieceHere: 6,
  resultHere: 7,
} as const;
export type FrameType = (typeof frameTypes)[keyof typeof frameTypes];

export interface FrameHead {
  readonly type: FrameType;
  /** Of the piece. */
  readonly lo: number;
  readonly size: number;
  /** Rank of the owner of the slice. */
  readonly slice: number;
  readonly generation: number;
  readonly step: number;
  /** Where the payload belongs in the slice or vector, in bytes. */
  readonly offset: number;
}

export interface Frame extends FrameHead {
  readonly payload: Uint8Array;
}

const magic = 0x31575843; // "CXW1"
export const headBytes = 32;
/** Longer vectors go in several frames. */
export const payloadBytesMax = 256 * 1024;

const noPlace = { lo: 0, size: 0, slice: 0, generation: 0, step: 0, offset: 0 };

export function encodeFrame(head: FrameHead, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + payload.length);
  frame.set(payload, headBytes);
  frame.writeUInt32LE(magic, 0);
  frame[4] = head.type;
  frame[5] = 0;
  frame.writeUInt16LE(head.lo, 6);
  frame.writeUInt16LE(head.size, 8);
  frame.writeUInt16LE(head.slice, 10);
  frame.writeUInt32LE(head.generation, 12);
  frame.writeUInt32LE(head.step, 16);
  frame.writeUInt32LE(head.offset, 20);
  frame.writeUInt32LE(payload.length, 24);
  frame.writeUInt32LE(checksumOf(frame), 28);
  return frame;
}

function checksumOf(frame: Buffer): number {
  return crc32(frame.subarray(headBytes), crc32(frame.subarray(0, headBytes - 4)));
}

/** Where numbers lie in the sender's shared memory. */
export interface Place {
  /** Index of the vector's stamp. */
  readonly vector: number;
  /** The stamp while the numbers are those that are meant. */
  readonly stamp: number;
}

const placeBytes = 8;

export function encodePlace(head: Omit<FrameHead, "offset">, { vector, stamp }: Place): Buffer {
  const payload = Buffer.alloc(placeBytes);
  payload.writeUInt32LE(vector, 0);
  payload.writeInt32LE(stamp, 4);
  return encodeFrame({ ...head, offset: 0 }, payload);
}

/** Undefined when the payload is not a place. */
export function parsePlace({ payload }: Frame): Place | undefined {
  if (payload.length !== placeBytes) return undefined;
  const view = new DataView(payload.buffer, payload.byteOffset, placeBytes);
  return { vector: view.getUint32(0, true), stamp: view.getInt32(4, true) };
}

/** A message of the control protocol, as JSON. */
export function encodeControl(message: object): Buffer {
  return encodeFrame(
    { ...noPlace, type: frameTypes.control },
    Buffer.from(JSON.stringify(message)),
  );
}

/** The frames of a float vector, in pieces of at most `payloadBytesMax`. The bytes are copied. */
export function* vectorFrames(
  head: Omit<FrameHead, "offset">,
  vector: Float32Array,
): Generator<Buffer> {
  const bytes = new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
  for (let offset = 0; offset < bytes.length || offset === 0; offset += payloadBytesMax) {
    yield encodeFrame(
      { ...head, offset },
      bytes.subarray(offset, Math.min(bytes.length, offset + payloadBytesMax)),
    );
  }
}

export type Parsed =
  | { readonly kind: "frame"; readonly frame: Frame }
  | { readonly kind: "nonsense"; readonly reason: string };

/** Cuts a byte stream into frames. After nonsense it must not be fed again. */
export class FrameParser {
  #chunks: Buffer[] = [];
  #bytes = 0;

  *feed(chunk: Buffer): Generator<Parsed> {
    this.#chunks.push(chunk);
    this.#bytes += chunk.length;
    for (;;) {
      if (this.#bytes < headBytes) return;
      const head = this.#peek(headBytes);
      const reason = whyNonsense(head);
      if (reason !== undefined) {
        yield { kind: "nonsense", reason };
        return;
      }
      const length = head.readUInt32LE(24);
      if (this.#bytes < headBytes + length) return;
      const whole = this.#take(headBytes + length);
      const payload = whole.subarray(headBytes);
      if (checksumOf(whole) !== whole.readUInt32LE(28)) {
        yield { kind: "nonsense", reason: "the checksum differs" };
        return;
      }
      yield { kind: "frame", frame: { ...headOf(whole), payload } };
    }
  }

  #peek(bytes: number): Buffer {
    const first = this.#chunks[0]!;
    if (first.length >= bytes) return first;
    this.#chunks = [Buffer.concat(this.#chunks)];
    return this.#chunks[0]!;
  }

  #take(bytes: number): Buffer {
    let first = this.#chunks[0]!;
    if (first.length < bytes) {
      first = Buffer.concat(this.#chunks);
      this.#chunks = [first];
    }
    this.#bytes -= bytes;
    if (first.length === bytes) this.#chunks.shift();
    else this.#chunks[0] = first.subarray(bytes);
    return first.subarray(0, bytes);
  }
}

function headOf(frame: Buffer): FrameHead {
  return {
    type: frame[4] as FrameType,
    lo: frame.readUInt16LE(6),
    size: frame.readUInt16LE(8),
    slice: frame.readUInt16LE(10),
    generation: frame.readUInt32LE(12),
    step: frame.readUInt32LE(16),
    offset: frame.readUInt32LE(20),
  };
}

const knownTypes: readonly number[] = Object.values(frameTypes);

function whyNonsense(head: Buffer): string | undefined {
  if (head.readUInt32LE(0) !== magic) return "no frame of ours";
  if (!knownTypes.includes(head[4]!)) return `unknown type ${head[4]}`;
  if (head.readUInt32LE(24) > payloadBytesMax)
    return `${head.readUInt32LE(24)} bytes, at most ${payloadBytesMax}`;
  return undefined;
}
