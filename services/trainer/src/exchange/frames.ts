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
  /** As piece, result and reduced, but the numbers stay where they are: see `Place`. */
  pieceHere: 6,
  resultHere: 7,
  reducedHere: 8,
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

/** CRC-32 of the bytes, going on from that of what came before: `zlib.crc32`, or one as it. */
export type Checksum = (bytes: Uint8Array, before?: number) => number;

/** The head of a frame whose payload is sent from where it lies. */
export function encodeHead(
  head: FrameHead,
  payload: Uint8Array,
  checksum: Checksum = crc32,
  frame = Buffer.allocUnsafe(headBytes),
): Buffer {
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
  frame.writeUInt32LE(checksumOf(payload, frame, checksum), 28);
  return frame;
}

/** A whole frame; the payload is copied. */
export function encodeFrame(head: FrameHead, payload: Uint8Array): Buffer {
  const frame = Buffer.allocUnsafe(headBytes + payload.length);
  frame.set(payload, headBytes);
  return encodeHead(head, frame.subarray(headBytes), crc32, frame);
}

function checksumOf(payload: Uint8Array, head: Buffer, checksum: Checksum): number {
  return checksum(payload, crc32(head.subarray(0, headBytes - 4)));
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
  head: Omit<FrameHead, "offset"> & { readonly offset?: number },
  vector: Float32Array,
): Generator<Buffer> {
  const bytes = new Uint8Array(vector.buffer, vector.byteOffset, vector.byteLength);
  for (let offset = 0; offset < bytes.length || offset === 0; offset += payloadBytesMax) {
    yield encodeFrame(
      { ...head, offset: (head.offset ?? 0) + offset },
      bytes.subarray(offset, Math.min(bytes.length, offset + payloadBytesMax)),
    );
  }
}

export type Parsed =
  | { readonly kind: "frame"; readonly frame: Frame }
  | { readonly kind: "nonsense"; readonly reason: string };

/** How many bytes a frame has, by its head; or why it is none. */
export function lengthOf(head: Buffer, payloadMax = payloadBytesMax): number | string {
  if (head.readUInt32LE(0) !== magic) return "no frame of ours";
  if (!knownTypes.includes(head[4]!)) return `unknown type ${head[4]}`;
  const length = head.readUInt32LE(24);
  return length > payloadMax ? `${length} bytes, at most ${payloadMax}` : headBytes + length;
}

/** The bytes of one frame, as `lengthOf` counts them. The payload is not copied. */
export function parseFrame(whole: Buffer, checksum: Checksum = crc32): Parsed {
  if (checksumOf(whole.subarray(headBytes), whole, checksum) !== whole.readUInt32LE(28))
    return { kind: "nonsense", reason: "the checksum differs" };
  return { kind: "frame", frame: { ...headOf(whole), payload: whole.subarray(headBytes) } };
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
