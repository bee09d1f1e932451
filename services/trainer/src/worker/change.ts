/**
 * Carries out a change of membership: the proposer's and the acceptor's side of the agreement in
 * `decide/agreement.ts`, over the connections and the membership record.
 *
 * A join needs the record in its quorum, so that whoever decides later with the record and without
 * the others knows of it. It is asked before anybody is frozen: without the bus nobody joins, and
 * nobody waits.
 */
import { type MembershipRecord, within } from "@coxswain/bus";
import {
  accept,
  ballotAbove,
  type Member,
  type PromiseOf,
  type Proposal,
  promise,
  proposalOf,
  quorumOf,
  type Vote,
} from "../decide/agreement.ts";
import type { Paces } from "../decide/shares.ts";
import type { ControlMessage } from "../exchange/peers.ts";
import { Candidates, type Ready } from "./candidates.ts";
import type { Clock } from "./clock.ts";
import { type RecordAcceptor, type RecordAnswer, recordOf } from "./record-acceptor.ts";

/** What the change needs to know and may do. */
export interface ChangePorts {
  readonly workerId: string;
  readonly shards: number;
  /** So many members at most: the others stand by. */
  trainingMax(): number | undefined;
  readonly clock: Clock;
  readonly record: RecordAcceptor;
  generation(): number;
  members(): readonly Member[];
  /** The next step to commit. */
  step(): number;
  isConnected(workerId: string): boolean;
  knownDead(): ReadonlySet<string>;
  /** Commit and contribute nothing more in this generation. */
  freeze(): void;
  adopt(proposal: Proposal, agreedMs: number): void;
  /** The record holds a generation that excludes the present one. */
  seeRecord(record: MembershipRecord): void;
  tell(workerId: string, message: ControlMessage): void;
  /** What shares are to follow; undefined: equal ones. */
  paces(): Paces | undefined;
  /** The last decided proposal: for those who fell behind. */
  decided(): Proposal | undefined;
  log(sentence: string, fields: object): void;
}

const answerTimeoutMs = 1000;
const recordTimeoutMs = 1000;
/** While a lost member holds up the others. */
const recordHurryMs = 150;
const standbyWordMs = 50;
/** While everybody is frozen. */
const recordAcceptTimeoutMs = 300;
const retryMs = 50;
/** A frozen member waits so long, and longer with its rank, before it takes over as proposer. */
const takeOverMs = 1200;
const takeOverRankMs = 300;
const laterMax = 256;

interface Round {
  readonly generation: number;
  readonly ballot: number;
  readonly members: readonly Member[];
  readonly promises: Map<string, PromiseOf>;
  readonly accepted: Set<string>;
  readonly silent: Set<string>;
  /** The record's promise, when it was asked. */
  record: Extract<RecordAnswer, { kind: "yes" }> | undefined;
  refusedBy: number;
}

export class Change {
  readonly #ports: ChangePorts;
  #vote: Vote = { promised: 0 };
  #round: Round | undefined;
  #isRunning = false;
  #highestBallot = 0;
  #isStopped = false;
  #lastReason = "";
  #changed = Promise.withResolvers<void>();
  /** Messages of instances that this member has not reached yet. */
  #later: { readonly from: string; readonly message: ControlMessage }[] = [];
  /** A new generation is wanted though nobody comes or goes. */
  #isRequested = false;
  readonly suspects = new Set<string>();
  readonly leaving = new Set<string>();
  readonly candidates: Candidates;

  constructor(ports: ChangePorts) {
    this.#ports = ports;
    this.candidates = new Candidates({
      ...ports,
      isGoing: (workerId) => this.suspects.has(workerId) || this.leaving.has(workerId),
    });
  }

  stop(): void {
    this.#isStopped = true;
    this.#wake();
  }

  #wake(): void {
    this.#changed.resolve();
    this.#changed = Promise.withResolvers();
  }

  /** A new generation began: the old instance is history. */
  reset(): void {
    this.#vote = { promised: 0 };
    this.#highestBallot = 0;
    this.#isRequested = false;
    const members = new Set(this.#ports.members().map(({ workerId }) => workerId));
    this.#forgetHearsay();
    for (const worker of [...this.suspects]) if (!members.has(worker)) this.suspects.delete(worker);
    for (const worker of [...this.leaving]) if (!members.has(worker)) this.leaving.delete(worker);
    this.#wake();
    const later = this.#later;
    this.#later = [];
    for (const { from, message } of later) this.receive(from, message);
  }

  /** What others say of a member counts for one round; the own connection counts longer. */
  #forgetHearsay(): void {
    for (const worker of [...this.suspects])
      if (this.#ports.isConnected(worker)) this.suspects.delete(worker);
  }

  /** Agree on a new generation from the steps that the members have, whoever they are. */
  request(): void {
    if (this.#ports.generation() === 0) return;
    this.#isRequested = true;
    void this.run();
  }

  suspect(workerId: string): void {
    if (!this.#ports.members().some((member) => member.workerId === workerId)) return;
    this.suspects.add(workerId);
    this.#round?.silent.add(workerId);
    this.#wake();
    void this.run();
  }

  #isNeeded(): boolean {
    const members = this.#ports.members();
    const has = (set: ReadonlySet<string>) => members.some(({ workerId }) => set.has(workerId));
    const canLeave = members.length > 1 && has(this.leaving);
    return (
      this.#isRequested ||
      has(this.suspects) ||
      canLeave ||
      this.#vote.promised > 0 ||
      this.candidates.list().length > 0
    );
  }

  /** The lowest rank that is not suspected proposes. */
  #proposer(): string | undefined {
    return this.#ports.members().find(({ workerId }) => !this.suspects.has(workerId))?.workerId;
  }

  #rank(): number {
    return this.#ports.members().findIndex(({ workerId }) => workerId === this.#ports.workerId);
  }

  /** Proposes until nothing needs to change; returns at once when it runs already. */
  async run(): Promise<void> {
    if (this.#isRunning) return;
    this.#isRunning = true;
    try {
      while (!this.#isStopped && this.#rank() >= 0 && this.#isNeeded()) {
        if (this.#proposer() !== this.#ports.workerId && !(await this.#mustTakeOver())) {
          if (this.#vote.promised === 0 && this.suspects.size === 0) return; // The proposer's matter.
          continue;
        }
        if (!(await this.#propose())) await this.#pause(retryMs + 20 * this.#rank());
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** Leaves it to the proposer; true when that led to nothing in time. */
  async #mustTakeOver(): Promise<boolean> {
    this.#passOn(this.#proposer());
    const generation = this.#ports.generation();
    const isInterrupted = await this.#pause(takeOverMs + takeOverRankMs * this.#rank());
    if (isInterrupted || this.#ports.generation() !== generation) return false;
    return this.#vote.promised > 0 || this.suspects.size > 0;
  }

  /** True when something changed before the time was over. */
  #pause(ms: number): Promise<boolean> {
    return within(this.#ports.clock, this.#changed.promise, ms);
  }

  /** Tells the proposer what this member has noticed. */
  #passOn(proposer: string | undefined): void {
    if (proposer === undefined) return;
    const tell = (message: ControlMessage) => this.#ports.tell(proposer, message);
    const generation = this.#ports.generation();
    for (const workerId of this.suspects) tell({ kind: "suspect", workerId, generation });
    for (const workerId of this.leaving) tell({ kind: "leave", workerId });
    if (this.#isRequested) tell({ kind: "stuck" });
    for (const ready of this.candidates.list()) tell({ kind: "ready", ...ready });
  }

  /** One round; true when a generation came out of it, or nothing has to change any more. */
  async #propose(): Promise<boolean> {
    const { clock } = this.#ports;
    const startedMs = clock.nowMs();
    const round = this.#newRound();
    const candidate = this.suspects.size > 0 ? undefined : await this.#admit(round);
    if (this.#isOver(round) || !this.#isNeeded()) return true;
    const own = promise(this.#vote, round.ballot);
    if (!own.isPromised) return false;
    this.#vote = own.vote;
    this.#round = round;
    try {
      await this.#gather(round);
      if (this.#isOver(round)) return true;
      if (round.refusedBy > 0) return false;
      const quorum = quorumOf(
        round.members,
        new Set(round.promises.keys()),
        this.#ports.knownDead(),
      );
      if (quorum.kind === "none") {
        this.#forgetHearsay();
        return this.#waits(quorum.reason);
      }
      if (quorum.kind === "with-record" && !(await this.#askRecord(round))) return false;
      const joins =
        quorum.kind === "majority" ? (candidate ?? (await this.#takePlace(round))) : undefined;
      if (this.#isOver(round)) return true;
      // Who has hung up meanwhile has given up.
      const joining = joins !== undefined && this.#ports.isConnected(joins.workerId) ? [joins] : [];
      const proposal = this.#proposal(round, joining);
      return await this.#decide(round, proposal, startedMs);
    } finally {
      if (this.#round === round) this.#round = undefined;
    }
  }

  #newRound(): Round {
    const highest = Math.max(this.#highestBallot, this.#vote.promised);
    return {
      generation: this.#ports.generation(),
      ballot: ballotAbove(highest, this.#rank()),
      members: this.#ports.members(),
      promises: new Map(),
      accepted: new Set(),
      silent: new Set(),
      record: undefined,
      refusedBy: 0,
    };
  }

  #isOver(round: Round): boolean {
    return this.#ports.generation() !== round.generation || this.#isStopped || this.#rank() < 0;
  }

  #waits(reason: string): false {
    if (reason !== this.#lastReason) this.#ports.log("waiting for a quorum", { reason });
    this.#lastReason = reason;
    return false;
  }

  /** Who joins in this round: one at a time, into a healthy group, when the record can be asked. */
  async #admit(round: Round) {
    const candidate = this.candidates.list()[0]?.candidate;
    if (candidate === undefined || this.#vote.promised > 0) return undefined;
    if (await this.#askRecord(round)) return candidate;
    this.candidates.remove(candidate.workerId); // It asks again.
    return undefined;
  }

  /** Somebody who stood by joins in a lost member's place, if the record answers at once. */
  async #takePlace(round: Round) {
    if (this.suspects.size === 0 || this.#ports.trainingMax() === undefined) return undefined;
    const ready = await this.#standby(round);
    if (ready === undefined || !(await this.#askRecord(round, recordHurryMs))) return undefined;
    return ready.candidate;
  }

  /**
   * Who can go on from where the members are. Whose donor was lost says so itself, with the last step
   * that it was given: nobody holds older ones than that.
   */
  async #standby(round: Round): Promise<Ready | undefined> {
    const { clock } = this.#ports;
    const fromStep = Math.max(...[...round.promises.values()].map(({ step }) => step));
    const deadlineMs = clock.nowMs() + standbyWordMs;
    for (;;) {
      const all = this.candidates.list();
      const found = all.find(
        ({ donor, step }) => !this.suspects.has(donor) || step >= fromStep - 1,
      );
      const leftMs = deadlineMs - clock.nowMs();
      if (found !== undefined || all.length === 0 || leftMs <= 0 || this.#isOver(round))
        return found;
      await this.#pause(leftMs);
    }
  }

  /** Somebody has said that it is ready. */
  heard(): void {
    this.#wake();
    void this.run();
  }

  async #askRecord(round: Round, timeoutMs = recordTimeoutMs): Promise<boolean> {
    if (round.record !== undefined) return true;
    const { record, clock, decided, seeRecord } = this.#ports;
    const asking = record.prepare(recordOf(decided()!), round.ballot);
    if (!(await within(clock, asking, timeoutMs))) return this.#waits("the bus is away");
    const answer = await asking;
    if (answer.kind === "refused")
      this.#highestBallot = Math.max(this.#highestBallot, answer.promised);
    if (this.#isOver(round)) return false;
    if (answer.kind === "ahead") seeRecord(answer.record);
    if (answer.kind === "away") this.#waits("the bus is away");
    if (answer.kind !== "yes") return false;
    round.record = answer;
    return true;
  }

  /** Freezes this member and asks all others that can be reached for their promise. */
  async #gather(round: Round): Promise<void> {
    const { workerId: me, freeze, step, tell, isConnected } = this.#ports;
    freeze();
    round.promises.set(me, { workerId: me, step: step(), ...acceptedOf(this.#vote) });
    const others = round.members
      .map(({ workerId }) => workerId)
      .filter((worker) => worker !== me && !this.suspects.has(worker) && isConnected(worker));
    const { ballot } = round;
    for (const worker of others)
      tell(worker, { kind: "prepare", instance: round.generation + 1, ballot });
    await this.#until(round, () =>
      others.every((worker) => round.promises.has(worker) || round.silent.has(worker)),
    );
  }

  #proposal(round: Round, joining: Parameters<typeof proposalOf>[0]["joining"]): Proposal {
    // Somebody always stays: the last one leaves by itself, after a checkpoint.
    const staying = [...round.promises.keys()].filter((worker) => !this.leaving.has(worker));
    const leaving = new Set(this.leaving);
    if (staying.length === 0) leaving.delete(this.#ports.workerId);
    const { generation, members } = round;
    const record = round.record?.vote.accepted;
    // What the record has accepted counts like a member's; it commits no steps.
    const recordPromise =
      record === undefined ? [] : [{ workerId: "", step: -1, accepted: record }];
    const promises = [...round.promises.values(), ...recordPromise];
    return proposalOf({
      generation,
      members,
      shards: this.#ports.shards,
      promises,
      leaving,
      joining,
      paces: this.#ports.paces(),
    });
  }

  async #decide(round: Round, proposal: Proposal, startedMs: number): Promise<boolean> {
    const { record, tell, adopt, clock, workerId: me } = this.#ports;
    if (proposal.joined.length > 0 && !(await this.#recordAccepts(round, proposal))) return false;
    const own = accept(this.#vote, round.ballot, proposal);
    if (!own.isAccepted || this.#isOver(round)) return this.#isOver(round);
    this.#vote = own.vote;
    round.accepted.add(me);
    const others = [...round.promises.keys()].filter((worker) => worker !== me);
    const instance = round.generation + 1;
    for (const worker of others)
      tell(worker, { kind: "accept", instance, ballot: round.ballot, proposal });
    const quorum = () => quorumOf(round.members, round.accepted, this.#ports.knownDead());
    const haveAll = () =>
      others.every((worker) => round.accepted.has(worker) || round.silent.has(worker));
    await this.#until(round, () => quorum().kind === "majority" || haveAll());
    if (this.#isOver(round)) return true;
    const last = quorum();
    if (last.kind === "none") return round.refusedBy > 0 ? false : this.#waits(last.reason);
    const isByRecord = last.kind === "with-record";
    if (isByRecord && !(await this.#askRecord(round))) return false;
    if (isByRecord && !(await record.decide(proposal, round.record!.revision))) return false;
    if (this.#isOver(round)) return true;
    for (const worker of new Set([...round.members, ...proposal.members].map((m) => m.workerId)))
      if (worker !== me) tell(worker, { kind: "decided", proposal });
    adopt(proposal, clock.nowMs() - startedMs);
    return true;
  }

  /** A join: the record accepts before any member does, so that a failure here leaves them free. */
  async #recordAccepts(round: Round, proposal: Proposal): Promise<boolean> {
    if (!(await this.#askRecord(round))) return false;
    const { record, clock, decided } = this.#ports;
    const base = recordOf(decided()!);
    const asking = record.accept(base, round.ballot, proposal, round.record!.revision);
    const isInTime = await within(clock, asking, recordAcceptTimeoutMs);
    const revision = isInTime ? await asking : undefined;
    if (revision === undefined) {
      for (const worker of proposal.joined) this.candidates.remove(worker);
      return this.#waits("the bus is away");
    }
    const vote: Vote = { promised: round.ballot, accepted: { ballot: round.ballot, proposal } };
    round.record = { kind: "yes", vote, revision };
    return true;
  }

  /** Writes the generation into the record; retried while the bus is away and the generation stands. */
  async publish(proposal: Proposal): Promise<void> {
    const { record, clock, generation, seeRecord } = this.#ports;
    while (!this.#isStopped && generation() === proposal.generation) {
      const outcome = await record.publish(proposal);
      if (outcome === "done") return;
      if (outcome !== "again")
        return generation() === proposal.generation ? seeRecord(outcome) : undefined;
      await clock.delay(500);
    }
  }

  async #until(round: Round, isDone: () => boolean): Promise<void> {
    const { clock } = this.#ports;
    const deadlineMs = clock.nowMs() + answerTimeoutMs;
    while (!isDone() && round.refusedBy === 0 && !this.#isOver(round)) {
      const leftMs = deadlineMs - clock.nowMs();
      if (leftMs <= 0) return;
      await this.#pause(leftMs);
    }
  }

  // --- messages ---

  receive(from: string, message: ControlMessage): void {
    const instance = Number(message["instance"] ?? 0);
    const generation = this.#ports.generation();
    if (instance <= generation) {
      const proposal = this.#ports.decided();
      if (proposal !== undefined && message.kind === "prepare")
        this.#ports.tell(from, { kind: "decided", proposal });
      return;
    }
    if (instance > generation + 1) {
      if (this.#later.length < laterMax) this.#later.push({ from, message });
      // Whoever is further answers a late prepare with what was decided.
      this.#ports.tell(from, { kind: "prepare", instance: generation + 1, ballot: 0 });
      return;
    }
    const ballot = Number(message["ballot"] ?? 0);
    if (message.kind === "prepare") this.#onPrepare(from, instance, ballot);
    else if (message.kind === "accept")
      this.#onAccept(from, instance, ballot, message["proposal"] as Proposal);
    else if (this.#round?.generation === generation && this.#round.ballot === ballot)
      this.#onAnswer(from, message, this.#round);
  }

  #onPrepare(from: string, instance: number, ballot: number): void {
    const { tell, freeze, step } = this.#ports;
    if (ballot === 0) return; // A question that is out of date.
    const { vote, isPromised } = promise(this.#vote, ballot);
    this.#vote = vote;
    if (!isPromised)
      return tell(from, { kind: "refused", instance, ballot, promised: vote.promised });
    freeze();
    tell(from, { kind: "promised", instance, ballot, step: step(), ...acceptedOf(vote) });
    void this.run();
  }

  #onAccept(from: string, instance: number, ballot: number, proposal: Proposal): void {
    const { vote, isAccepted } = accept(this.#vote, ballot, proposal);
    this.#vote = vote;
    this.#ports.freeze();
    const answer = isAccepted
      ? { kind: "accepted", instance, ballot }
      : { kind: "refused", instance, ballot, promised: vote.promised };
    this.#ports.tell(from, answer);
  }

  #onAnswer(from: string, message: ControlMessage, round: Round): void {
    if (message.kind === "refused") {
      this.#highestBallot = Math.max(this.#highestBallot, Number(message["promised"]));
      round.refusedBy += 1;
    } else if (message.kind === "promised") {
      const accepted = message["accepted"] as Vote["accepted"];
      const step = Number(message["step"]);
      round.promises.set(from, {
        workerId: from,
        step,
        ...(accepted === undefined ? {} : { accepted }),
      });
    } else if (message.kind === "accepted") {
      round.accepted.add(from);
    }
    this.#wake();
  }
}

function acceptedOf(vote: Vote): Pick<Vote, "accepted"> {
  return vote.accepted === undefined ? {} : { accepted: vote.accepted };
}
