/**
 * Live transfer of the state to a worker that joins: the donor's side and the joiner's.
 *
 * The donor sends a snapshot at a step boundary, then the reduced vector of each step since; the
 * joiner applies them until it is level. Nobody waits for it. On the same machine the joiner is told
 * where the vector lies, and reads it there; the numbers are sent when it has not said so in time.
 */
import type { Layout } from "@coxswain/engine";
import type { Member } from "../decide/agreement.ts";
import type { Updates } from "../decide/updates.ts";
import {
  encodePlace,
  type Frame,
  frameTypes,
  parsePlace,
  vectorFrames,
} from "../exchange/frames.ts";
import type { Kernels } from "../exchange/kernels.ts";
import {
  beginWrite,
  isAsTold,
  reducedStamp,
  type Shared,
  type Vectors,
} from "../exchange/memory.ts";
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
  readonly shards: number;
  readonly vectors: Vectors;
  readonly updates: Pick<Updates, "after" | "turnOf">;
  /** Whether this peer has mapped our memory. */
  readonly isMappedBy: (workerId: string) => boolean;
  /** The next step to commit. */
  readonly step: () => number;
  readonly generations: () => readonly Generation[];
  readonly programHash: string;
}

interface Follower {
  /** Frames that wait until the snapshot is out; undefined once it is. */
  waiting: Buffer[] | undefined;
  waitingBytes: number;
  /** It was told where this step's vector lies, and has not said yet that it has read it. */
  unread: number | undefined;
}

/** The donor's side: who follows this worker. */
export class Donor {
  readonly #ports: DonorPorts;
  readonly #followers = new Map<string, Follower>();

  constructor(ports: DonorPorts) {
    this.#ports = ports;
  }

  /** Somebody needs each reduced vector. */
  get isFollowed(): boolean {
    return this.#followers.size > 0;
  }

  async add(workerId: string, members: readonly Member[]): Promise<void> {
    const { peers, compute, layout, step, generations, programHash } = this.#ports;
    const follower: Follower = { waiting: [], waitingBytes: 0, unread: undefined };
    // The compute thread serves requests in order: the copy is the state as of the step known now.
    const at = step();
    this.#followers.set(workerId, follower);
    const floats = layout.parameterFloats * (1 + layout.slotCount);
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

  /** It has read this step's vector where it lies. */
  read(workerId: string, step: number): void {
    const follower = this.#followers.get(workerId);
    if (follower?.unread === step) follower.unread = undefined;
  }

  /**
   * A step was committed: everybody who follows gets its reduced vector. The one before it is still
   * there, and will be no more after the next step.
   */
  committed(step: number): void {
    const { peers, vectors, isMappedBy, updates } = this.#ports;
    for (const [workerId, follower] of this.#followers) {
      const { unread } = follower;
      follower.unread = undefined;
      const isBefore = unread !== undefined && unread < step && updates.after(unread) === step;
      if (isBefore) this.#sendNumbers(workerId, follower, unread);
      if (follower.waiting !== undefined || !isMappedBy(workerId)) {
        this.#sendNumbers(workerId, follower, step);
        continue;
      }
      follower.unread = step;
      const vector = reducedStamp(this.#ports.shards, updates.turnOf(step));
      const place = { vector, stamp: Atomics.load(vectors.stamps, vector) };
      const head = { lo: 0, size: 0, slice: 0, generation: 0, step };
      peers.send(workerId, encodePlace({ ...head, type: frameTypes.reducedHere }, place));
    }
  }

  #sendNumbers(workerId: string, follower: Follower, step: number): void {
    const { peers, vectors, updates } = this.#ports;
    if (peers.queuedBytes(workerId) + follower.waitingBytes > queuedBytesMax) {
      this.#followers.delete(workerId);
      peers.drop(workerId);
      return;
    }
    for (const frame of reducedFrames(step, vectors.reduced[updates.turnOf(step)])) {
      if (follower.waiting === undefined) peers.send(workerId, frame);
      else {
        follower.waiting.push(frame);
        follower.waitingBytes += frame.length;
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

export interface ReducedInboxPorts {
  readonly vectors: Vectors;
  readonly kernels: Pick<Kernels, "copy">;
  readonly shards: number;
  /** The memory of this peer, where it is mapped here. */
  readonly windowOf: (workerId: string) => Shared | undefined;
  readonly isExpected: (step: number) => boolean;
  /** Which of the two reduced vectors belongs to the update of this step. */
  readonly turnOf: (step: number) => 0 | 1;
  /** Resolves when the vector's memory may be written again. */
  readonly onWhole: (step: number) => Promise<void>;
  /** This peer's memory has been read and may change. */
  readonly onRead: (workerId: string, step: number) => void;
}

/** Reduced vectors that arrive from one donor, whole ones handed on in order. */
export class ReducedInbox {
  readonly #ports: ReducedInboxPorts;
  #queue: Promise<void> = Promise.resolve();
  /** By turn: until when the memory is in use. */
  readonly #inUse = [Promise.resolve(), Promise.resolve()];
  #missingBytes = 0;

  constructor(ports: ReducedInboxPorts) {
    this.#ports = ports;
  }

  /** Resolves when all that was received is applied. */
  async settled(): Promise<void> {
    await this.#queue;
    await Promise.all(this.#inUse);
  }

  receive(from: string, frame: Frame): void {
    // Of a Buffer, `slice` would be a view of memory that the next frame is read into.
    const payload = Uint8Array.from(frame.payload);
    this.#queue = this.#queue.then(async () => {
      if (!this.#ports.isExpected(frame.step)) return;
      await this.#inUse[this.#ports.turnOf(frame.step)];
      if (!this.#ports.isExpected(frame.step)) return;
      if (frame.type === frameTypes.reducedHere) this.#readHere(from, { ...frame, payload });
      else this.#put({ ...frame, payload });
    });
  }

  /** What has changed meanwhile will come as numbers. */
  #readHere(from: string, frame: Frame): void {
    const { vectors, kernels, windowOf, onRead, turnOf } = this.#ports;
    const place = parsePlace(frame);
    const window = windowOf(from);
    if (place === undefined || window === undefined) return;
    if (place.vector >= window.stamps.length) return;
    const half = turnOf(frame.step);
    this.#missingBytes = 0;
    this.#beginWrite(frame.step);
    kernels.copy(vectors.reduced[half], window.reduced[half]);
    if (!isAsTold(window, place)) return;
    onRead(from, frame.step);
    this.#whole(frame.step);
  }

  #put({ step, offset, payload }: Frame): void {
    const target = this.#ports.vectors.reduced[this.#ports.turnOf(step)];
    if (offset === 0) {
      this.#missingBytes = target.byteLength;
      this.#beginWrite(step);
    }
    if (offset + payload.length > target.byteLength || this.#missingBytes <= 0) return;
    new Uint8Array(target.buffer, target.byteOffset, target.byteLength).set(payload, offset);
    this.#missingBytes -= payload.length;
    if (this.#missingBytes === 0) this.#whole(step);
  }

  #beginWrite(step: number): void {
    const { vectors, shards, turnOf } = this.#ports;
    beginWrite(vectors, reducedStamp(shards, turnOf(step)));
  }

  #whole(step: number): void {
    this.#inUse[this.#ports.turnOf(step)] = this.#ports.onWhole(step);
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
