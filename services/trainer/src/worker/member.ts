/**
 * A worker in its group: joins, computes its shards, exchanges, commits, and goes on with whoever is
 * left. `docs` of the protocol: ADR 0003 and 0004.
 *
 * States: `joining` (no member yet), `member`, `frozen` (a change is being agreed; nothing is
 * committed), `catching-up` (a member that lacks the last committed step), `gone`.
 */
import type { MembershipRecord } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import type { Member as GroupMember, Proposal } from "../decide/agreement.ts";
import { type Piece, pieceKey, piecesOf } from "../decide/shards.ts";
import { patienceMsDefault } from "../decide/shares.ts";
import { type Frame, frameTypes } from "../exchange/frames.ts";
import type { ControlMessage } from "../exchange/peers.ts";
import { Reduce } from "../exchange/reduce.ts";
import type { Ready } from "./candidates.ts";
import { Change } from "./change.ts";
import { Donor, ReducedInbox, reducedFrames } from "./follow.ts";
import type { MemberPorts } from "./member-ports.ts";
import { isAhead, recordOf } from "./record-acceptor.ts";
import { sharingAmong } from "./shareable.ts";
import { Supervision, type Work } from "./supervision.ts";

export type MemberState = "joining" | "member" | "frozen" | "catching-up" | "gone";

/** Once all steps are committed, a lost member is missed only after so long. */
const endGraceMs = 1500;

/** Frames of a generation that this worker has not heard of yet. */
const futureBytesMax = 256 * 1024 * 1024;

/** A member that lacks the last step waits so long for somebody to send it. */
const catchUpMs = 1000;

export class GroupMembership {
  readonly #ports: MemberPorts;
  readonly change: Change;
  readonly donor: Donor;
  readonly supervision: Supervision;
  readonly #reducedInbox: ReducedInbox;
  #state: MemberState = "joining";
  #generation = 0;
  #members: readonly GroupMember[] = [];
  #decided: Proposal | undefined;
  #step = 0;
  /** The step whose reduced vector this worker holds, -1 when none. */
  #heldStep = -1;
  readonly #reduces = new Map<number, Reduce>();
  #future: { readonly from: string; readonly frame: Frame }[] = [];
  #futureBytes = 0;
  #stepStartedMs = 0;
  #behindSinceMs = 0;
  #formedMs = 0;
  /** Vectors of what is over are still being sent: their memory must not be written yet. */
  #sending: Promise<unknown> | undefined;
  #isHeldUp = false;
  /** A joiner that holds the state and has asked to be taken in. */
  isReady = false;
  /** A joiner that holds the state, and for which there is no place yet. */
  standsBy = false;
  /** Somebody is lost, and what it had sent is applied. */
  onLostFrom: ((workerId: string) => void) | undefined;

  constructor(ports: MemberPorts) {
    this.#ports = ports;
    const { me, shards, peers, compute, compiled, ledger, clock, record } = ports;
    this.change = new Change({
      clock,
      record,
      workerId: me.workerId,
      shards,
      trainingMax: () => ports.trainingMax?.(),
      generation: () => this.#generation,
      members: () => this.#members,
      step: () => this.#step,
      isConnected: (workerId) => peers.isConnected(workerId),
      knownDead: ports.knownDead,
      freeze: () => this.#freeze(),
      adopt: (proposal, agreedMs) => this.adopt(proposal, { agreedMs }),
      seeRecord: (seen) => this.seeRecord(seen),
      tell: (workerId, message) => peers.tell(workerId, message),
      decided: () => this.#decided,
      paces: () => this.supervision.weights,
      log: ports.log,
    });
    this.supervision = new Supervision({
      clock,
      workerId: me.workerId,
      shards,
      audit: ports.audit,
      patienceMs: ports.patienceMs ?? patienceMsDefault,
      generation: () => this.#generation,
      members: () => this.#members,
      step: () => this.#step,
      tell: (workerId, message) => peers.tell(workerId, message),
      renew: () => this.change.request(),
      onSlowed: (slow) => ports.onSlowed?.(slow),
      onDiffers: (audited) => ports.onDiffers?.(audited),
    });
    this.donor = new Donor({
      peers,
      compute,
      layout: compiled.layout,
      step: () => this.#step,
      generations: () => ledger.generations,
      programHash: compiled.hash,
    });
    this.#reducedInbox = new ReducedInbox(ports.vectors, shards, (step) => this.#received(step));
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
    return this.#rankOf(this.#ports.me.workerId);
  }
  #rankOf(id: string): number {
    return this.#members.findIndex(({ workerId }) => workerId === id);
  }
  /** Milliseconds since the present step was ordered, monotonic. */
  get stepAgeMs(): number {
    return this.#state === "member" && this.#step < this.#ports.steps
      ? this.#ports.clock.nowMs() - this.#stepStartedMs
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
    const { me, peers, ledger, log } = this.#ports;
    if (proposal.generation <= this.#generation || this.#state === "gone") return;
    const isIn = proposal.members.some(({ workerId }) => workerId === me.workerId);
    if (this.#state === "joining" && !(isIn && this.isReady)) return;
    const before = this.#members;
    const isNew = this.#state === "joining";
    this.#generation = proposal.generation;
    this.#members = proposal.members;
    this.#decided = proposal;
    this.#formedMs = this.#ports.clock.nowMs();
    this.#reduces.clear();
    this.#ports.sharing?.forgetLost();
    const { generation, fromStep, cause } = proposal;
    const ids = proposal.members.map(({ workerId }) => workerId);
    log("generation formed", { generation, fromStep, cause, members: ids, step: this.#step });
    if (!isIn) {
      this.#helpStaying(proposal);
      this.#leave(proposal);
      return;
    }
    ledger.formed({ ...proposal, ...facts }, this.rank === 0);
    this.donor.formed(ledger.generations.at(-1)!, proposal.members);
    this.#state = this.#step < fromStep ? "catching-up" : "member";
    if (isNew) this.#ports.onJoined(proposal.generation, this.#step);
    this.change.reset();
    this.supervision.formed();
    // Whoever leaves may still send what this member lacks; it closes by itself.
    const isLevel = this.#state === "member";
    for (const { workerId } of before) if (isLevel && !ids.includes(workerId)) peers.drop(workerId);
    this.#letVectorsGo();
    this.#level(fromStep);
    if (this.#state === "member") this.#begin();
    this.#replay();
    for (const workerId of ids)
      if (workerId !== me.workerId && !peers.isConnected(workerId)) this.change.suspect(workerId);
    if (this.rank === 0) void this.change.publish(proposal);
    void this.change.run();
  }

  /** The record holds a later generation, or another one of the same number: it is the last word. */
  seeRecord(record: MembershipRecord): void {
    if (this.#state === "gone") return;
    if (this.#decided !== undefined && !isAhead(record, recordOf(this.#decided))) return;
    const { generation, fromStep, cause } = record;
    const members = record.members as readonly GroupMember[];
    const proposal: Proposal = {
      ...{ generation, fromStep, members, cause: cause ?? "loss" },
      ...{ joined: [], left: [], lost: [], level: [] },
    };
    if (generation > this.#generation) this.adopt(proposal);
    else if (this.#state !== "joining") this.#leave(proposal);
  }

  /** Taken in while it starts over, it could not do a member's part: its process starts anew. */
  giveUp(): void {
    if (this.#state !== "joining" || this.isReady) return;
    this.#state = "gone";
    this.change.stop();
    this.#ports.onGone("fenced");
  }

  /** Members differ by one step at most: whoever is behind asks, whoever is ahead of all sends. */
  #level(fromStep: number): void {
    if (this.#state === "catching-up") {
      this.#behindSinceMs = this.#ports.clock.nowMs();
      this.#askForStep();
      return;
    }
    if (this.#step <= fromStep) return;
    for (const { workerId } of this.#members) this.#sendReduced(workerId, fromStep);
  }

  /** Those who stay may all lack the last step: whoever goes hands it over. */
  #helpStaying({ fromStep, members, level }: Proposal): void {
    if (this.#step !== fromStep) return;
    const behind = members.filter(({ workerId }) => !level.includes(workerId));
    for (const { workerId } of behind) this.#sendReduced(workerId, fromStep - 1);
  }

  #askForStep(): void {
    const step = this.#step;
    for (const { workerId } of this.#members)
      if (workerId !== this.#ports.me.workerId)
        this.#ports.peers.tell(workerId, { kind: "need", step });
  }

  #sendReduced(workerId: string, step: number): void {
    const { me, peers, vectors } = this.#ports;
    const hasIt = step >= 0 && this.#heldStep === step && step === this.#step - 1;
    if (!hasIt || workerId === me.workerId) return;
    for (const frame of reducedFrames(step, vectors.reduced[(step % 2) as 0 | 1]))
      peers.send(workerId, frame);
  }

  #onNeed(workerId: string, step: number): void {
    if (this.rank < 0 || this.#state === "gone") return;
    const isAhead = step === this.#step - 1;
    if (!isAhead || this.#heldStep === step) return this.#sendReduced(workerId, step);
    // A newcomer has the state, not the last step's vector. Nobody else sends it either: the others
    // compute the step again, and this worker's process starts anew.
    const sinceMs = this.#ports.clock.nowMs() - this.#formedMs;
    if (sinceMs >= catchUpMs / 2) this.#leave(this.#decided!);
  }

  /** Now and then: what may have been lost is asked for again. */
  tick(): void {
    if (this.#state === "catching-up") {
      this.#askForStep();
      // Nobody has it any more: a new generation starts from what is left, and computes it again.
      const { clock } = this.#ports;
      if (clock.nowMs() - this.#behindSinceMs > catchUpMs) {
        // A newcomer whose donor died on the way lacks more than anybody still holds.
        if (this.#step < this.#decided!.fromStep - 1) return this.#leave(this.#decided!);
        this.change.request();
      }
    }
    if (this.rank < 0 || this.#state === "gone") return;
    // Somebody may be ahead: a newcomer whose donor was the only one to commit a step.
    if (this.stepAgeMs > catchUpMs) this.#askForStep();
    if (this.#state === "member" && this.#step < this.#ports.steps) this.supervision.tick();
    this.#reconnect();
    void this.change.run();
  }

  /** Members that lost each other but live must be able to agree: the lower id connects again. */
  #reconnect(): void {
    const { me, peers, knownDead } = this.#ports;
    if (this.#state !== "frozen" && this.change.suspects.size === 0) return;
    const dead = knownDead();
    for (const { workerId, address } of this.#members)
      if (me.workerId < workerId && !dead.has(workerId) && !peers.isConnected(workerId))
        void peers.connect(workerId, address);
  }

  /** What was on its way when the connection broke is lost: all begin anew in the next generation. */
  onConnected(workerId: string): void {
    if (!this.change.suspects.delete(workerId)) return;
    this.change.request();
  }

  #leave(proposal: Proposal): void {
    const { workerId } = this.#ports.me;
    const hasLeft = proposal.left.includes(workerId) || this.change.leaving.has(workerId);
    this.#state = "gone";
    this.change.stop();
    this.#ports.onGone(hasLeft ? "left" : "fenced");
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

  /** What was given away in a step that ended otherwise than by itself is void. */
  #letVectorsGo(): void {
    const sending = this.#ports.peers.forgetVectors();
    this.#sending = sending;
    void sending?.then(() => {
      if (this.#sending !== sending) return;
      this.#sending = undefined;
      if (this.#state === "member" && this.#isHeldUp) this.#begin();
    });
  }

  #begin(): void {
    this.#isHeldUp = this.#sending !== undefined;
    if (this.#isHeldUp) return;
    if (this.#step >= this.#ports.steps) return this.#ports.onTrained();
    this.#stepStartedMs = this.#ports.clock.nowMs();
    this.#reduceOf(this.#step);
    const audited = this.supervision.planOf(this.#step)?.shard;
    this.#ports.compute.order(this.#step, this.#ownPieces(), audited);
  }

  #ownPieces(): readonly Piece[] {
    const { shardFrom: from, shardTo: to } = this.#members[this.rank]!;
    return piecesOf({ from, to }, this.#ports.exchange);
  }

  #reduceOf(step: number): Reduce {
    let reduce = this.#reduces.get(step);
    if (reduce === undefined) {
      const members = this.#members;
      reduce = new Reduce({
        generation: this.#generation,
        step,
        ...{ shards: this.#ports.shards, mode: this.#ports.exchange, rank: this.rank },
        ranges: members.map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo })),
        vectors: this.#ports.vectors,
        vectorFloats: this.#ports.compiled.layout.vectorFloats,
        kernels: this.#ports.kernels,
        ...sharingAmong(this.#ports.sharing, members),
        send: (rank, frame) => this.#ports.peers.send(members[rank]!.workerId, frame),
        sendVector: (rank, head, vector) =>
          this.#ports.peers.sendVector(members[rank]!.workerId, head, vector),
        onWhole: () => this.#commit(step, reduce!),
      });
      this.#reduces.set(step, reduce);
    }
    return reduce;
  }

  /** The compute thread has finished a piece. */
  onPiece(step: number, piece: Piece, buffer: number, work?: Work): void {
    if (work !== undefined) this.supervision.worked(work);
    if (this.#state !== "member" || step !== this.#step) return;
    const isOwn = this.#ownPieces().some((own) => pieceKey(own) === pieceKey(piece));
    if (isOwn) this.#reduceOf(step).give(piece, buffer);
  }

  /** The compute thread says what bits a shard has that is audited. */
  onWitness(step: number, shard: number, sha256: string): void {
    this.supervision.witnessed(step, shard, sha256);
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

  /** Reduced vectors may come: from a donor, or from a member that is ahead. */
  #takesReduced(step: number): boolean {
    const takes =
      this.#state === "joining" || this.#state === "catching-up" || this.#state === "member";
    return takes && step === this.#step;
  }

  async #received(step: number): Promise<void> {
    if (!this.#takesReduced(step)) return;
    if (this.#state === "member") {
      this.#letVectorsGo();
      if (this.#advance(step)) this.#begin();
      return;
    }
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
      this.#reducedInbox.receive(frame, (step) => this.#takesReduced(step));
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
    const why = this.#reduceOf(frame.step).receive(frame, this.#rankOf(from));
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
        this.change.candidates.remove(from);
        if (this.rank >= 0 && this.#state !== "gone") void this.donor.add(from, this.#members);
        else this.#ports.peers.drop(from);
        return;
      case "ready":
        return this.#onReady(from, message as unknown as Ready);
      case "stand-by":
        return this.#onStandBy(Number(message["generation"]));
      case "stuck":
        this.change.request();
        return;
      case "need":
        return this.#onNeed(from, Number(message["step"]));
      case "leave":
        this.change.leaving.add(String(message["workerId"]));
        void this.change.run();
        return;
      case "suspect":
        // Who has just left sees the others hang up: that is no news of this generation.
        if (message["generation"] === this.#generation && !this.change.suspects.has(from))
          this.change.suspect(String(message["workerId"]));
        return;
      case "decided":
        this.adopt(message["proposal"] as Proposal);
        return;
      default:
        if (this.#state === "joining" || this.#state === "gone") return;
        if (!this.supervision.onControl(from, message)) this.change.receive(from, message);
    }
  }

  #onReady(from: string, ready: Ready): void {
    if (this.rank < 0 || this.#state === "gone") return;
    const isMember = this.#members.some(({ workerId }) => workerId === ready.candidate.workerId);
    if (isMember)
      return this.#ports.peers.tell(from, { kind: "decided", proposal: this.#decided! });
    this.change.candidates.add(ready);
    if (this.change.candidates.isFull)
      this.#ports.peers.tell(from, { kind: "stand-by", generation: this.#generation });
    else this.change.heard();
  }

  #onStandBy(generation: number): void {
    if (this.#state !== "joining") return;
    if (!this.standsBy) this.#ports.onStandingBy?.(generation, this.#step);
    this.standsBy = true;
  }

  onLost(workerId: string): void {
    if (this.#state === "joining")
      void this.#reducedInbox.settled().then(() => this.onLostFrom?.(workerId));
    this.donor.remove(workerId);
    this.change.candidates.remove(workerId);
    const suspect = () => {
      if (this.#state !== "joining" && this.#state !== "gone") this.change.suspect(workerId);
    };
    // At the end everybody leaves when the log tells of it: most likely this worker is next.
    if (this.#step < this.#ports.steps) suspect();
    else setTimeout(suspect, endGraceMs).unref();
  }
}
