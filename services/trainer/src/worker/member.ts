/**
 * A worker in its group: joins, computes its shards, exchanges, commits, and goes on with whoever is
 * left. `docs` of the protocol: ADR 0003 and 0004.
 *
 * States: `joining` (no member yet), `member`, `frozen` (a change is being agreed; nothing is
 * committed), `catching-up` (a member that lacks the last committed step), `gone`.
 */
import { AppError } from "@coxswain/domain";
import type { Candidate, Member as GroupMember, Proposal } from "../decide/agreement.ts";
import { type Piece, pieceKey, piecesOf } from "../decide/shards.ts";
import { type Frame, frameTypes } from "../exchange/frames.ts";
import type { Add, Vectors } from "../exchange/memory.ts";
import type { ControlMessage, Peers } from "../exchange/peers.ts";
import { Reduce } from "../exchange/reduce.ts";
import type { Change } from "./change.ts";
import type { Compute } from "./compute.ts";
import type { Compiled } from "./compute-messages.ts";
import { Donor, ReducedInbox, reducedFrames } from "./follow.ts";
import type { Ledger } from "./ledger.ts";

export type MemberState = "joining" | "member" | "frozen" | "catching-up" | "gone";

export interface MemberPorts {
  readonly me: Candidate;
  readonly shards: number;
  readonly steps: number;
  readonly compiled: Compiled;
  readonly compute: Compute;
  readonly vectors: Vectors;
  readonly add: Add;
  readonly peers: Peers;
  readonly ledger: Ledger;
  readonly buildChange: (ports: ConstructorParameters<typeof Change>[0]) => Change;
  readonly knownDead: () => ReadonlySet<string>;
  readonly log: (sentence: string, fields: object) => void;
  /** A step was committed; its reduced metrics. Called before the next step is ordered. */
  readonly onCommitted: (step: number, metrics: Readonly<Record<string, number>>) => void;
  /** A generation began and all steps are committed already. */
  readonly onTrained: () => void;
  /** This worker is no member any more. */
  readonly onGone: (how: "left" | "fenced") => void;
  readonly onFailed: (error: AppError, step: number) => void;
}

/** Frames of a generation that this worker has not heard of yet. */
const futureBytesMax = 256 * 1024 * 1024;

export class GroupMembership {
  readonly #ports: MemberPorts;
  readonly change: Change;
  readonly donor: Donor;
  readonly #reducedInbox: ReducedInbox;
  #state: MemberState = "joining";
  #generation = 0;
  #members: readonly GroupMember[] = [];
  #decided: Proposal | undefined;
  #step = 0;
  /** The step whose reduced vector this worker holds, -1 when none. */
  #heldStep = -1;
  #reduces = new Map<number, Reduce>();
  #future: { readonly from: string; readonly frame: Frame }[] = [];
  #futureBytes = 0;
  #stepStartedMs = 0;

  constructor(ports: MemberPorts) {
    this.#ports = ports;
    const { me, shards, peers, compute, compiled, ledger } = ports;
    this.change = ports.buildChange({
      workerId: me.workerId,
      shards,
      generation: () => this.#generation,
      members: () => this.#members,
      step: () => this.#step,
      isConnected: (workerId) => peers.isConnected(workerId),
      knownDead: ports.knownDead,
      freeze: () => this.#freeze(),
      adopt: (proposal, agreedMs) => this.adopt(proposal, { agreedMs }),
      tell: (workerId, message) => peers.tell(workerId, message),
      decided: () => this.#decided,
      log: ports.log,
    });
    this.donor = new Donor({
      peers,
      compute,
      layout: compiled.layout,
      step: () => this.#step,
      generations: () => ledger.generations,
      programHash: compiled.hash,
    });
    this.#reducedInbox = new ReducedInbox(ports.vectors, (step) => this.#received(step));
  }

  get state(): MemberState {
    return this.#state;
  }
  get generation(): number {
    return this.#generation;
  }
  get members(): readonly GroupMember[] {
    return this.#members;
  }
  get step(): number {
    return this.#step;
  }
  get rank(): number {
    return this.#members.findIndex(({ workerId }) => workerId === this.#ports.me.workerId);
  }
  /** Milliseconds since the present step was ordered, monotonic. */
  get stepAgeMs(): number {
    return this.#state === "member" && this.#step < this.#ports.steps
      ? performance.now() - this.#stepStartedMs
      : 0;
  }

  /** The state in memory is that after steps below `step`. */
  startAt(step: number): void {
    this.#step = step;
    this.#heldStep = -1;
    this.#ports.ledger.startsAt(step);
  }

  /** A generation was decided. Whoever is in it goes on; whoever is not is gone. */
  adopt(
    proposal: Proposal,
    facts: { readonly agreedMs?: number; readonly checkpointStep?: number } = {},
  ): void {
    if (proposal.generation <= this.#generation || this.#state === "gone") return;
    const before = new Set(this.#members.map(({ workerId }) => workerId));
    const wasMember = this.rank >= 0;
    const heldBefore = this.#heldStep;
    this.#generation = proposal.generation;
    this.#members = proposal.members;
    this.#decided = proposal;
    this.#reduces.clear();
    this.#ports.log("generation formed", {
      generation: proposal.generation,
      fromStep: proposal.fromStep,
      members: proposal.members.map(({ workerId }) => workerId),
      cause: proposal.cause,
    });
    this.#helpBehind(proposal, heldBefore);
    if (this.rank < 0)
      return this.#leave(
        proposal.left.includes(this.#ports.me.workerId) || !wasMember ? "left" : "fenced",
        wasMember,
      );
    this.change.reset();
    for (const workerId of before)
      if (!proposal.members.some((member) => member.workerId === workerId))
        this.#ports.peers.drop(workerId);
    this.#ports.ledger.formed({ ...proposal, ...facts }, this.rank === 0);
    this.#state = this.#step < proposal.fromStep ? "catching-up" : "member";
    if (this.#state === "member") this.#begin();
    this.#replay();
    for (const { workerId } of this.#members) {
      if (workerId !== this.#ports.me.workerId && !this.#ports.peers.isConnected(workerId))
        this.change.suspect(workerId);
    }
    void this.change.run();
  }

  /** Whoever holds the last committed step sends it to those who lack it. */
  #helpBehind(proposal: Proposal, heldStep: number): void {
    const { me, peers, vectors } = this.#ports;
    const last = proposal.fromStep - 1;
    if (proposal.level[0] !== me.workerId || heldStep !== last || last < 0) return;
    const behind = proposal.members.filter(
      ({ workerId }) => !proposal.level.includes(workerId) && !proposal.joined.includes(workerId),
    );
    for (const { workerId } of behind) {
      for (const frame of reducedFrames(last, vectors.reduced[(last % 2) as 0 | 1]))
        peers.send(workerId, frame);
    }
  }

  #leave(how: "left" | "fenced", wasMember: boolean): void {
    if (!wasMember) return; // A joiner that was not taken in: it tries again.
    this.#state = "gone";
    this.change.stop();
    this.#ports.onGone(how);
  }

  #freeze(): void {
    if (this.#state === "member" || this.#state === "catching-up") this.#state = "frozen";
  }

  /** Stops committing, for good: the last member before it leaves. */
  stopHere(): void {
    this.#state = "gone";
    this.change.stop();
    this.#ports.compute.forgetOrders();
  }

  #begin(): void {
    if (this.#step >= this.#ports.steps) return this.#ports.onTrained();
    this.#stepStartedMs = performance.now();
    this.#reduceOf(this.#step);
    const own = this.#members[this.rank]!;
    this.#ports.compute.order(this.#step, piecesOf({ from: own.shardFrom, to: own.shardTo }));
  }

  #reduceOf(step: number): Reduce {
    let reduce = this.#reduces.get(step);
    if (reduce === undefined) {
      const members = this.#members;
      reduce = new Reduce({
        generation: this.#generation,
        step,
        shards: this.#ports.shards,
        rank: this.rank,
        ranges: members.map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo })),
        vectors: this.#ports.vectors,
        vectorFloats: this.#ports.compiled.layout.vectorFloats,
        add: this.#ports.add,
        send: (rank, frame) => this.#ports.peers.send(members[rank]!.workerId, frame),
        onWhole: () => this.#commit(step, reduce!),
      });
      this.#reduces.set(step, reduce);
    }
    return reduce;
  }

  /** The compute thread has finished a piece. */
  onPiece(step: number, piece: Piece, buffer: number): void {
    if (this.#state !== "member" || step !== this.#step) return;
    const own = this.#members[this.rank]!;
    const isOwn = piecesOf({ from: own.shardFrom, to: own.shardTo }).some(
      (wanted) => pieceKey(wanted) === pieceKey(piece),
    );
    if (isOwn) this.#reduceOf(step).give(piece, this.#ports.vectors.pool[buffer]!);
  }

  #commit(step: number, reduce: Reduce): void {
    if (this.#state !== "member" || step !== this.#step || this.#reduces.get(step) !== reduce)
      return;
    if (this.#advance(step)) this.#begin();
  }

  /** The reduced vector of `step` is whole in memory: apply it. False when it is not finite. */
  #advance(step: number): boolean {
    const { vectors, compiled, compute, ledger } = this.#ports;
    const reduced = vectors.reduced[(step % 2) as 0 | 1];
    const { metricNames, parameterFloats } = compiled.layout;
    const metrics = Object.fromEntries(
      metricNames.map((name, index) => [name, reduced[parameterFloats + index]!]),
    );
    if (!Number.isFinite(metrics["loss"])) {
      this.#ports.onFailed(
        new AppError("loss-not-finite", `the loss of step ${step} is ${metrics["loss"]}`),
        step,
      );
      return false;
    }
    void compute.apply(step);
    this.#reduces.delete(step);
    this.#step = step + 1;
    this.#heldStep = step;
    ledger.committed(step);
    this.donor.committed(step, reduced);
    this.#ports.onCommitted(step, metrics);
    return true;
  }

  /** A reduced vector came from a donor, or from a member that was ahead. */
  async #received(step: number): Promise<void> {
    if (step !== this.#step || (this.#state !== "joining" && this.#state !== "catching-up")) return;
    const { compute, ledger } = this.#ports;
    const applied = compute.apply(step);
    this.#step = step + 1;
    this.#heldStep = step;
    ledger.committed(step);
    this.donor.committed(step, this.#ports.vectors.reduced[(step % 2) as 0 | 1]);
    await applied;
    if (this.#state === "catching-up" && this.#step >= (this.#decided?.fromStep ?? 0)) {
      this.#state = "member";
      this.#begin();
      this.#replay();
    }
  }

  onFrame(from: string, frame: Frame): void {
    if (frame.type === frameTypes.reduced) {
      this.#reducedInbox.receive(
        frame,
        (step) =>
          step === this.#step && (this.#state === "joining" || this.#state === "catching-up"),
      );
      return;
    }
    if (frame.generation < this.#generation) {
      // Somebody goes on in a generation that is over.
      if (this.#decided !== undefined)
        this.#ports.peers.tell(from, { kind: "decided", proposal: this.#decided });
    } else if (frame.generation > this.#generation || this.#state === "catching-up") {
      this.#keepForLater(from, frame);
    } else if (this.#state === "member") {
      this.#exchange(from, frame);
    }
  }

  #exchange(from: string, frame: Frame): void {
    if (frame.step !== this.#step && frame.step !== this.#step + 1) return;
    const why = this.#reduceOf(frame.step).receive(frame);
    if (why === undefined) return;
    this.#ports.log("a member sent nonsense", { from, why });
    this.#ports.peers.drop(from);
    this.change.suspect(from);
  }

  #keepForLater(from: string, frame: Frame): void {
    this.#futureBytes += frame.payload.length;
    if (this.#futureBytes > futureBytesMax) return;
    this.#future.push({ from, frame: { ...frame, payload: Uint8Array.from(frame.payload) } });
  }

  #replay(): void {
    const kept = this.#future;
    this.#future = [];
    this.#futureBytes = 0;
    for (const { from, frame } of kept) this.onFrame(from, frame);
  }

  onControl(from: string, message: ControlMessage): void {
    switch (message.kind) {
      case "join":
        if (this.#state !== "joining" && this.#state !== "gone") void this.donor.add(from);
        return;
      case "ready": {
        const candidate = message["candidate"] as Candidate;
        if (this.rank >= 0) this.change.ready.set(candidate.workerId, candidate);
        void this.change.run();
        return;
      }
      case "leave":
        this.change.leaving.add(String(message["workerId"]));
        void this.change.run();
        return;
      case "suspect":
        if (!this.change.suspects.has(from)) this.change.suspect(String(message["workerId"]));
        return;
      case "decided":
        this.adopt(message["proposal"] as Proposal);
        return;
      default:
        if (this.#state !== "joining" && this.#state !== "gone") this.change.receive(from, message);
    }
  }

  onLost(workerId: string): void {
    this.donor.remove(workerId);
    this.change.ready.delete(workerId);
    if (this.#state !== "joining" && this.#state !== "gone") this.change.suspect(workerId);
  }
}
