/**
 * A worker in its group: joins, computes its shards, exchanges, commits, and goes on with whoever is
 * left. `docs` of the protocol: ADR 0003 and 0004.
 *
 * States: `joining` (no member yet), `member`, `frozen` (a change is being agreed; nothing is
 * committed), `catching-up` (a member that lacks the last committed step), `gone`.
 */
import type { MembershipRecord } from "@coxswain/bus";
import type { Member as GroupMember, Proposal } from "../decide/agreement.ts";
import type { Missing } from "../decide/overdue.ts";
import { type Piece, pieceKey } from "../decide/shards.ts";
import { startOf } from "../decide/start-of.ts";
import { switchStepOf } from "../decide/switch-step.ts";
import { Updates } from "../decide/updates.ts";
import { type Frame, frameTypes } from "../exchange/frames.ts";
import type { ControlMessage } from "../exchange/peers.ts";
import type { Ready } from "./candidates.ts";
import type { Change } from "./change.ts";
import type { Work } from "./compute-messages.ts";
import { hangUp, linger, reconnect } from "./connections.ts";
import type { Donor, ReducedInbox } from "./follow.ts";
import { catchUpMs, type LastStep } from "./last-step.ts";
import type { Generation } from "./ledger.ts";
import { buildParts, type MemberParts } from "./member-parts.ts";
import type { MemberPorts } from "./member-ports.ts";
import { isAhead, isSame, proposalOfRecord, recordOf } from "./record-acceptor.ts";
import type { StepExchange } from "./step-exchange.ts";
import { StepOrders } from "./step-orders.ts";
import { Steps } from "./steps.ts";
import type { Supervision } from "./supervision.ts";
import { VoidVectors } from "./void-vectors.ts";

export type MemberState = "joining" | "member" | "frozen" | "catching-up" | "gone";

/** Once all steps are committed, a lost member is missed only after so long. */
const endGraceMs = 1500;

type FormedFacts = Pick<Generation, "agreedMs" | "checkpointStep">;

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
  readonly updates: Updates;
  readonly #exchange: StepExchange;
  readonly #lastStep: LastStep;
  readonly #steps: Steps;
  readonly #orders: StepOrders;
  readonly #void: VoidVectors;
  /** Decided, and in force from a step ahead. */
  #planned: { readonly proposal: Proposal; readonly facts: FormedFacts } | undefined;
  /** It has begun a step as a member: so the others have one update more at most. */
  #hasBegun = false;
  /** A joiner that holds the state and has asked to be taken in. */
  isReady = false;
  /** A joiner that holds the state, and for which there is no place yet. */
  standsBy = false;
  /** Somebody is lost, and what it had sent is applied. */
  onLostFrom: ((workerId: string) => void) | undefined;

  constructor(ports: MemberPorts) {
    this.#ports = ports;
    const { steps } = ports;
    this.updates = new Updates({
      ...ports,
      changes: () => this.#decided?.batches ?? ports.ledger.generations.at(-1)?.batches ?? [],
    });
    this.#steps = this.#buildSteps();
    const parts = buildParts(ports, {
      generation: () => this.#generation,
      members: () => this.#members,
      step: () => this.step,
      updates: this.updates,
      isNew: () => !this.#hasBegun,
      giveUp: () => this.#leave(this.#decided!),
      decided: () => this.#decided,
      planned: () => this.#planned?.proposal,
      isTraining: () => this.#state === "member" && this.step < steps,
      switchStep: () =>
        switchStepOf({
          ...{ step: this.step, stepMs: this.#steps.clock.meanMs, steps },
          after: (step) => this.updates.after(step),
        }),
      freeze: () => this.#freeze(),
      decide: (proposal, agreedMs) => this.#decide(proposal, { agreedMs }),
      breakPlan: () => this.breakPlan(),
      seeRecord: (seen) => this.seeRecord(seen),
      isExpected: (step) => this.#takesReduced(step),
      received: (step) => this.#received(step),
      commit: (step) => this.#commit(step),
    });
    this.change = parts.change;
    this.supervision = parts.supervision;
    this.donor = parts.donor;
    this.#exchange = parts.exchange;
    this.#lastStep = parts.lastStep;
    this.#reducedInbox = parts.reducedInbox;
    this.#orders = this.#buildOrders(parts);
    this.#void = new VoidVectors({
      peers: ports.peers,
      onFree: () => this.#state === "member" && this.#begin(),
    });
  }

  #buildSteps(): Steps {
    return new Steps({
      ...{ ...this.#ports, updates: this.updates },
      held: (step) => this.#lastStep.holds(step),
      done: (step) => {
        this.#exchange.done(step);
        this.donor.committed(step);
      },
    });
  }

  #buildOrders(parts: MemberParts): StepOrders {
    const { run, clock: stepClock } = this.#steps;
    return new StepOrders({
      ...{ ...this.#ports, ...parts, updates: this.updates, run, stepClock },
      members: () => this.#members,
      isFollowed: () => this.donor.isFollowed,
      isBarred: (step) =>
        step >= (this.#planned?.proposal.fromStep ?? Number.POSITIVE_INFINITY) ||
        this.change.isBarred(step),
    });
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
  /** The next one to commit; exact, for which the compute thread stops committing by itself. */
  get step(): number {
    this.#steps.settle();
    return this.#step;
  }
  get #step(): number {
    return this.#steps.known;
  }
  get rank(): number {
    return this.#rankOf(this.#ports.me.workerId);
  }
  #rankOf(id: string): number {
    return this.#members.findIndex(({ workerId }) => workerId === id);
  }
  /** Milliseconds since the present update was ordered, monotonic. */
  get stepAgeMs(): number {
    return this.#state === "member" && this.#step < this.#ports.steps ? this.#steps.clock.ageMs : 0;
  }

  /** What the present step waits for, where that is known. */
  get missing(): readonly Missing[] | undefined {
    return this.#exchange.missing(this.#step);
  }

  /** The state in memory is that after steps below `step`. */
  startAt(step: number): void {
    this.#steps.startAt(step);
  }

  /** It could hand the last step on: a newcomer may be the only one who has it. */
  get canHandOn(): boolean {
    this.#steps.settle();
    return this.#lastStep.isHeld || this.#step >= this.#ports.steps;
  }

  /** This worker is a member from a step ahead. */
  get isPlanned(): boolean {
    return this.#planned !== undefined;
  }

  /** A generation was decided: it begins now, or at its planned step when nothing is in the way. */
  #decide(proposal: Proposal, facts: FormedFacts = {}): void {
    this.#steps.settle();
    const start = startOf({
      ...{ proposal, workerId: this.#ports.me.workerId, state: this.#state, isReady: this.isReady },
      ...{ generation: this.#generation, step: this.#step },
      isDisturbed: this.change.suspects.size > 0 || this.change.isBehind,
    });
    if (start.kind === "now") return this.adopt(proposal, facts);
    if (this.#planned !== undefined) return;
    this.#planned = { proposal, facts };
    const pieces = this.#exchange.piecesIn(proposal.members);
    if (pieces === undefined) return;
    const { fromStep: step, batches = [] } = proposal;
    this.#ports.compute.expect({ step, steps: this.updates.with(batches).at(step).steps, pieces });
  }

  /** The present generation cannot go on to the planned step: the next one begins here. */
  breakPlan(): void {
    this.#steps.settle();
    const planned = this.#planned;
    if (planned === undefined) return;
    this.#planned = undefined;
    const isNew = this.#state === "joining";
    const before = this.#members;
    this.adopt(planned.proposal, planned.facts);
    // Who leaves is hung up on by those who have gone on already: that is no news to the others.
    if (isNew || this.state === "gone") return;
    const everybody = new Set([...before, ...planned.proposal.members].map((m) => m.workerId));
    for (const workerId of everybody)
      if (workerId !== this.#ports.me.workerId)
        this.#ports.peers.tell(workerId, { kind: "broken", proposal: planned.proposal });
    this.change.request();
  }

  /** A generation begins. Whoever is in it goes on; whoever is not is gone. */
  adopt(proposal: Proposal, facts: FormedFacts = {}): void {
    this.#steps.settle();
    const { me, peers } = this.#ports;
    if (proposal.generation <= this.#generation || this.#state === "gone") return;
    const isIn = proposal.members.some(({ workerId }) => workerId === me.workerId);
    if (this.#state === "joining" && !(isIn && this.isReady)) return;
    const isNew = this.#state === "joining";
    // All that was sent in the generation before is of steps that all its members finish.
    const isSmooth = proposal.isPlanned === true && this.#step === proposal.fromStep;
    const before = this.#enter(proposal);
    const { fromStep } = proposal;
    if (!isIn) return this.#goOut(proposal, before, isSmooth);
    const formed: Generation = { ...proposal, ...facts };
    this.#ports.ledger.formed(formed, this.rank === 0);
    this.donor.formed(formed, proposal.members);
    this.#state = this.#step < fromStep ? "catching-up" : "member";
    if (isNew) this.#ports.onJoined(proposal.generation, this.#step);
    this.change.reset();
    this.supervision.formed();
    // Whoever leaves may still send what this member lacks; it closes by itself.
    if (this.#state === "member") hangUp(peers, before, proposal);
    if (!isSmooth) this.#void.letGo();
    this.#lastStep.level(fromStep, this.#state === "catching-up");
    if (this.#state === "member") this.#begin();
    this.#replay();
    for (const { workerId } of proposal.members)
      if (workerId !== me.workerId && !peers.isConnected(workerId)) this.change.suspect(workerId);
    if (this.rank === 0) void this.change.publish(proposal);
    void this.change.run();
  }

  /** Returns the members of the generation before. */
  #enter(proposal: Proposal): readonly GroupMember[] {
    const before = this.#members;
    this.#planned = undefined;
    this.#generation = proposal.generation;
    this.#members = proposal.members;
    this.#decided = proposal;
    this.#exchange.clear();
    this.#ports.sharing?.forgetLost();
    const { generation, fromStep, cause, isPlanned } = proposal;
    const members = proposal.members.map(({ workerId }) => workerId);
    const facts = { generation, fromStep, cause, members, isPlanned, step: this.#step };
    this.#ports.log("generation formed", facts);
    return before;
  }

  /** The record holds a later generation, or another one of the same number: it is the last word. */
  seeRecord(record: MembershipRecord): void {
    this.#steps.settle();
    if (this.#state === "gone") return;
    if (this.#decided !== undefined && !isAhead(record, recordOf(this.#decided))) return;
    const proposal = proposalOfRecord(record);
    const { generation } = proposal;
    const planned = this.#planned && recordOf(this.#planned.proposal);
    if (planned !== undefined && isSame(record, planned)) return; // In force from its step on.
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

  #onNeed(workerId: string, step: number): void {
    if (this.rank < 0 || this.#state === "gone") return;
    // Nobody else sends it either: the others compute the step again, and this worker's process starts anew.
    if (!this.#lastStep.answer(workerId, step)) this.#leave(this.#decided!);
  }

  /** Now and then: what may have been lost is asked for again. */
  tick(): void {
    this.#steps.settle();
    if (this.#state === "catching-up") {
      this.#lastStep.ask();
      // Nobody has it any more: a new generation starts from what is left, and computes it again.
      if (this.#lastStep.isAskedInVain) {
        // A newcomer whose donor died on the way lacks more than anybody still holds.
        const { fromStep, isPlanned } = this.#decided!;
        const isFar = this.updates.after(this.#step) < fromStep && !isPlanned;
        if (isFar) return this.#leave(this.#decided!);
        this.change.request();
      }
    }
    if (this.rank < 0 || this.#state === "gone") return;
    // Somebody may be ahead: a newcomer whose donor was the only one to commit a step.
    if (this.stepAgeMs > catchUpMs) this.#lastStep.ask();
    if (this.stepAgeMs > this.#steps.clock.lateMs) this.#connectFrom(this.#step);
    if (this.#state === "member" && this.#step < this.#ports.steps) this.supervision.tick();
    const isApart = this.#state === "frozen" || this.change.suspects.size > 0;
    if (isApart) reconnect(this.#ports, this.#members);
    void this.change.run();
  }

  /** What was on its way when the connection broke is lost: all begin anew in the next generation. */
  onConnected(workerId: string): void {
    if (!this.change.suspects.delete(workerId)) return;
    this.change.request();
  }

  #goOut(proposal: Proposal, before: readonly GroupMember[], isSmooth: boolean): void {
    this.#lastStep.helpStaying(proposal);
    // Who was first to go on has hung up before this one saw why; the others may not be as far.
    const isLast = this.#state === "member" && this.updates.after(this.#step) === proposal.fromStep;
    if (isSmooth || (proposal.isPlanned && isLast)) this.#leaveSmoothly(proposal, before);
    else this.#leave(proposal);
  }

  #leave(proposal: Proposal): void {
    const { workerId } = this.#ports.me;
    const hasLeft = proposal.left.includes(workerId) || this.change.leaving.has(workerId);
    this.#state = "gone";
    this.change.stop();
    this.#ports.onGone(hasLeft ? "left" : "fenced");
  }

  /** Out as planned: all that the others, and a newcomer that follows it, need is on its way. */
  #leaveSmoothly(proposal: Proposal, before: readonly GroupMember[]): void {
    const { me, peers, clock } = this.#ports;
    this.#state = "gone";
    this.change.stop();
    void linger({ clock, peers }, [...before, ...proposal.members]).then(() =>
      this.#ports.onGone(proposal.left.includes(me.workerId) ? "left" : "fenced"),
    );
  }

  #freeze(): void {
    this.#steps.settle();
    if (this.#state === "member" || this.#state === "catching-up") this.#state = "frozen";
  }

  /** Stops committing, for good: the last member before it leaves. */
  stopHere(): void {
    this.#steps.settle();
    this.#state = "gone";
    this.change.stop();
    this.#ports.compute.forgetOrders();
  }

  #begin(): void {
    this.#hasBegun = true;
    this.#steps.settle();
    if (!this.#void.mayBegin()) return;
    const planned = this.#planned;
    if (planned !== undefined && this.#step >= planned.proposal.fromStep)
      return this.adopt(planned.proposal, planned.facts);
    if (this.#step >= this.#ports.steps) return this.#ports.onTrained();
    if (this.change.isBarred(this.#step)) return this.#freeze();
    this.#steps.clock.start();
    this.#orders.give(this.#step);
  }

  #connectFrom(step: number): void {
    const isNew = this.#exchange.connectFrom(step);
    if (isNew && step <= this.#step && !this.#void.isHoldingUp) this.#orders.give(this.#step);
  }

  /** The compute thread has finished a piece. */
  onPiece(step: number, piece: Piece, buffer: number, work?: Work): void {
    if (work !== undefined) this.supervision.worked(work);
    if (this.#state !== "member" || step !== this.#step) return;
    const own = this.#exchange.piecesIn(this.#members)!;
    if (own.some((one) => pieceKey(one) === pieceKey(piece)))
      this.#exchange.of(step).give(piece, buffer);
  }

  /** The compute threads of the group have added up all pieces. */
  onWhole(step: number, work: Work): void {
    this.supervision.worked(work);
    this.#commit(step);
  }

  /** The compute thread has committed updates by itself; `isOver`: all that it may. */
  onRan(isOver: boolean, work: Work): void {
    this.supervision.worked(work);
    this.#steps.run.catchUp();
    if (isOver && this.#state === "member") this.#begin();
  }

  #commit(step: number): void {
    const isDue = this.#state === "member" && step === this.step;
    if (isDue && this.#steps.advance(step)) this.#begin();
  }

  /** Reduced vectors may come: from a donor, or from a member that is ahead. */
  #takesReduced(step: number): boolean {
    const takes =
      this.#state === "joining" || this.#state === "catching-up" || this.#state === "member";
    return takes && step === this.step;
  }

  async #received(step: number): Promise<void> {
    if (!this.#takesReduced(step)) return;
    if (this.#state === "member") {
      this.#void.letGo();
      if (this.#steps.advance(step)) this.#begin();
      return;
    }
    const applied = this.#steps.follow(step);
    const planned = this.#planned;
    if (planned !== undefined && this.#step >= planned.proposal.fromStep)
      this.adopt(planned.proposal, planned.facts);
    await applied;
    if (this.#state === "catching-up" && this.#step >= (this.#decided?.fromStep ?? 0)) {
      this.#state = "member";
      this.#begin();
      this.#replay();
    }
  }

  onFrame(from: string, frame: Frame): void {
    this.#steps.settle();
    if (frame.type === frameTypes.reduced || frame.type === frameTypes.reducedHere)
      return this.#reducedInbox.receive(from, frame);
    if (frame.generation < this.#generation) {
      // Somebody goes on in a generation that is over.
      if (this.#decided !== undefined)
        this.#ports.peers.tell(from, { kind: "decided", proposal: this.#decided });
    } else if (frame.generation > this.#generation || this.#state === "catching-up") {
      this.#exchange.keepForLater(from, frame);
    } else if (this.#state === "member") {
      this.#receive(from, frame);
    }
  }

  #receive(from: string, frame: Frame): void {
    if (frame.step !== this.#step && frame.step !== this.updates.after(this.#step)) return;
    this.#connectFrom(frame.step);
    const why = this.#exchange.of(frame.step).receive(frame, this.#rankOf(from));
    if (why === undefined) return;
    this.#ports.log("a member sent nonsense", { from, why });
    this.#ports.peers.drop(from);
    this.change.suspect(from);
  }

  #replay(): void {
    for (const { from, frame } of this.#exchange.takeKept()) this.onFrame(from, frame);
  }

  onControl(from: string, message: ControlMessage): void {
    if (!["pace", "witness"].includes(message.kind)) this.#steps.settle();
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
      case "read":
        return this.donor.read(from, Number(message["step"]));
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
        return this.#decide(message["proposal"] as Proposal);
      case "broken":
        return this.adopt(message["proposal"] as Proposal);
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
    if (this.#state !== "joining" || this.standsBy) return;
    this.standsBy = true;
    this.#ports.onStandingBy?.(generation, this.#step);
  }

  onLost(workerId: string): void {
    this.#steps.settle();
    if (this.#state === "joining")
      void this.#reducedInbox.settled().then(() => {
        if (this.#state === "joining") this.breakPlan();
        this.onLostFrom?.(workerId);
      });
    this.donor.remove(workerId);
    this.change.candidates.remove(workerId);
    const hasPeers = () => this.#state !== "joining" && this.#state !== "gone";
    const suspect = () => hasPeers() && this.change.suspect(workerId);
    // At the end everybody leaves when the log tells of it: most likely this worker is next.
    if (this.#step < this.#ports.steps) suspect();
    else void this.#ports.clock.delay(endGraceMs).then(suspect);
  }
}
