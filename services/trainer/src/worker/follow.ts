/**
 * Live transfer of the state to a worker that joins: the donor's side and the joiner's.
 *
 * The donor sends a snapshot at a step boundary, then the reduced vector of each step since; the
 * joiner applies them until it is level. Nobody waits for it.
 */
import type { Layout } from "@coxswain/engine";
import type { Member } from "../decide/agreement.ts";
import { type Frame, frameTypes, vectorFrames } from "../exchange/frames.ts";
import { beginWrite, reducedStamp, type Vectors } from "../exchange/memory.ts";
import type { Compute } from "./compute.ts";
import type { Generation } from "./ledger.ts";
import type { PeersPort } from "./member-ports.ts";

/** Bytes that may wait for a joiner before it is given up: it is slower than the training. */
const queuedBytesMax = 512 * 1024 * 1024;

/** Bytes of a snapshot that are handed to the socket at once. */
const windowBytes = 8 * 1024 * 1024;

export interface DonorPorts {
  readonly peers: PeersPort;
  readonly compute: Pick<Compute, "copy">;
  readonly layout: Layout;
  /** The next step to commit. */
  readonly step: () => number;
  readonly generations: () => readonly Generation[];
  readonly programHash: string;
}

interface Follower {
  /** Frames that wait until the snapshot is out; undefined once it is. */
  waiting: Buffer[] | undefined;
  waitingBytes: number;
}

/** The donor's side: who follows this worker. */
export class Donor {
  readonly #ports: DonorPorts;
  readonly #followers = new Map<string, Follower>();

  constructor(ports: DonorPorts) {
    this.#ports = ports;
  }

  async add(workerId: string, members: readonly Member[]): Promise<void> {
    const { peers, compute, layout, step, generations, programHash } = this.#ports;
    const follower: Follower = { waiting: [], waitingBytes: 0 };
    this.#followers.set(workerId, follower);
    const floats = layout.parameterFloats * (1 + layout.slotCount);
    // The compute thread serves requests in order: the copy is the state as of the step known now.
    const at = step();
    const copied = await compute.copy(0, floats);
    if (this.#followers.get(workerId) !== follower) return;
    peers.tell(workerId, {
      kind: "snapshot",
      step: at,
      floats,
      programHash,
      generations: generations(),
      members,
    });
    const head = { type: frameTypes.snapshot, lo: 0, size: 0, slice: 0, generation: 0, step: at };
    for (const frame of vectorFrames(head, copied.floats)) {
      peers.send(workerId, frame);
      if (peers.queuedBytes(workerId) > windowBytes) await peers.drained(workerId);
      if (this.#followers.get(workerId) !== follower) return;
    }
    for (const frame of follower.waiting ?? []) peers.send(workerId, frame);
    follower.waiting = undefined;
    follower.waitingBytes = 0;
  }

  /** A generation began: followers learn of it; those who are members now follow no more. */
  formed(generation: Generation, members: readonly Member[]): void {
    for (const workerId of [...this.#followers.keys()]) {
      if (members.some((member) => member.workerId === workerId)) this.#followers.delete(workerId);
      else this.#ports.peers.tell(workerId, { kind: "formed", generation, members });
    }
  }

  remove(workerId: string): void {
    this.#followers.delete(workerId);
  }

  /** A step was committed: everybody who follows gets its reduced vector. */
  committed(step: number, reduced: Float32Array): void {
    for (const [workerId, follower] of this.#followers) {
      const queuedBytes = this.#ports.peers.queuedBytes(workerId) + follower.waitingBytes;
      if (queuedBytes > queuedBytesMax) {
        this.#followers.delete(workerId);
        this.#ports.peers.drop(workerId);
        continue;
      }
      for (const frame of reducedFrames(step, reduced)) {
        if (follower.waiting === undefined) this.#ports.peers.send(workerId, frame);
        else {
          follower.waiting.push(frame);
          follower.waitingBytes += frame.length;
        }
      }
    }
  }
}

export function reducedFrames(step: number, reduced: Float32Array): Generator<Buffer> {
  return vectorFrames(
    { type: frameTypes.reduced, lo: 0, size: 0, slice: 0, generation: 0, step },
    reduced,
  );
}

/** Reduced vectors that arrive from one donor, whole ones handed on in order. */
export class ReducedInbox {
  readonly #vectors: Vectors;
  readonly #shards: number;
  readonly #onWhole: (step: number) => Promise<void>;
  #queue: Promise<void> = Promise.resolve();
  #missingBytes = 0;

  /** `onWhole` resolves when the vector's memory may be written again. */
  constructor(vectors: Vectors, shards: number, onWhole: (step: number) => Promise<void>) {
    this.#vectors = vectors;
    this.#shards = shards;
    this.#onWhole = onWhole;
  }

  /** Resolves when all that was received is applied. */
  settled(): Promise<void> {
    return this.#queue;
  }

  receive(frame: Frame, isExpected: (step: number) => boolean): void {
    const payload = Uint8Array.from(frame.payload);
    const { step, offset } = frame;
    this.#queue = this.#queue.then(async () => {
      if (!isExpected(step)) return;
      const target = this.#vectors.reduced[(step % 2) as 0 | 1];
      if (offset === 0) {
        this.#missingBytes = target.byteLength;
        beginWrite(this.#vectors, reducedStamp(this.#shards, step));
      }
      if (offset + payload.length > target.byteLength || this.#missingBytes <= 0) return;
      new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(payload, offset);
      this.#missingBytes -= payload.length;
      if (this.#missingBytes === 0) await this.#onWhole(step);
    });
  }
}

/** The joiner's side: a snapshot that arrives in frames. */
export class SnapshotInbox {
  readonly #target: Uint8Array;
  readonly floats: Float32Array;
  readonly step: number;
  #missingBytes: number;

  constructor(step: number, floats: number) {
    this.step = step;
    this.floats = new Float32Array(floats);
    this.#target = new Uint8Array(this.floats.buffer);
    this.#missingBytes = this.#target.length;
  }

  /** True when the snapshot is whole. */
  receive(frame: Frame): boolean {
    if (frame.step !== this.step || frame.offset + frame.payload.length > this.#target.length)
      return false;
    this.#target.set(frame.payload, frame.offset);
    this.#missingBytes -= frame.payload.length;
    return this.#missingBytes === 0;
  }
}
