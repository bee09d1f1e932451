/**
 * Cuts a stream of bytes into frames, in a buffer that the connection reads into: nothing is copied
 * until a whole frame is there and its checksum is right.
 *
 * Between frames whatever has come is read, up to the longest frame; within one exactly its rest. So
 * two of the longest frames fit, and nothing is ever moved.
 */
import { crc32 } from "node:zlib";
import {
  type Checksum,
  headBytes,
  lengthOf,
  type Parsed,
  parseFrame,
  payloadBytesMax,
} from "./frames.ts";

const frameBytesMax = (payloadMax: number) => headBytes + payloadMax;
/** Bytes of a buffer that holds the longest frames. */
export const readerBytes = 2 * frameBytesMax(payloadBytesMax);
/** Who has proved nothing yet may send so much in one frame. */
const strangerPayloadMax = 4096;

export class FrameReader {
  readonly #checksum: Checksum;
  #buffer: Buffer;
  #payloadMax: number;
  #next: Buffer | undefined;
  #from = 0;
  #to = 0;
  #isBroken = false;

  constructor(checksum: Checksum = crc32) {
    this.#checksum = checksum;
    this.#payloadMax = strangerPayloadMax;
    this.#buffer = Buffer.allocUnsafe(2 * frameBytesMax(strangerPayloadMax));
  }

  /** From the next frame on, with frames of any length that is allowed. */
  useBuffer(buffer: Buffer): void {
    this.#next = buffer;
  }

  /** Where the next bytes belong: never empty. */
  space(): Buffer {
    if (this.#from === this.#to) this.#startOver();
    return this.#buffer.subarray(this.#to, this.#from + this.#wanted());
  }

  #startOver(): void {
    this.#from = 0;
    this.#to = 0;
    if (this.#next === undefined) return;
    this.#buffer = this.#next;
    this.#next = undefined;
    this.#payloadMax = payloadBytesMax;
  }

  #wanted(): number {
    const length = this.#to - this.#from < headBytes ? "unknown" : this.#length();
    return typeof length === "number" ? length : frameBytesMax(this.#payloadMax);
  }

  #length(): number | string {
    return lengthOf(this.#buffer.subarray(this.#from, this.#from + headBytes), this.#payloadMax);
  }

  /** So many bytes are in the last `space`. A frame's payload is valid until the next `space`. */
  *received(bytes: number): Generator<Parsed> {
    this.#to += bytes;
    while (!this.#isBroken && this.#to - this.#from >= headBytes) {
      const length = this.#length();
      if (typeof length === "string") {
        this.#isBroken = true;
        return yield { kind: "nonsense", reason: length };
      }
      if (this.#to - this.#from < length) return;
      const parsed = parseFrame(
        this.#buffer.subarray(this.#from, this.#from + length),
        this.#checksum,
      );
      this.#from += length;
      this.#isBroken = parsed.kind === "nonsense";
      yield parsed;
    }
  }
}
