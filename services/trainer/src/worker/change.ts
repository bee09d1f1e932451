/**
 * Carries out a change of membership: the proposer's and the acceptor's side of the agreement in
 * `decide/agreement.ts`, over the connections and the membership record.
 */
import { setTimeout as delay } from "node:timers/promises";
import type { Bucket, MembershipRecord } from "@coxswain/bus";
import {
  accept,
  ballotAbove,
  type Candidate,
  type Member,
  type PromiseOf,
  type Proposal,
  promise,
  proposalOf,
  quorumOf,
  type Vote,
} from "../decide/agreement.ts";
import type { ControlMessage } from "../exchange/peers.ts";

/** What the change needs to know and may do. */
export interface ChangePorts {
  readonly workerId: string;
  readonly shards: number;
  generation(): number;
  members(): readonly Member[];
  /** The next step to commit. */
  step(): number;
  isConnected(workerId: string): boolean;
  knownDead(): ReadonlySet<string>;
  /** Commit and contribute nothing more in this generation. */
  freeze(): void;
  adopt(proposal: Proposal, agreedMs: number): void;
  tell(workerId: string, message: ControlMessage): void;
  /** The last decided proposal: for those who fell behind. */
  decided(): Proposal | undefined;
  log(sentence: string, fields: object): void;
}

const answerTimeoutMs = 1000;
const retryMs = 100;
/** A frozen member waits so long, and longer with its rank, before it takes over as proposer. */
const takeOverMs = 400;

interface Round {
  readonly instance: number;
  readonly ballot: number;
  readonly promises: Map<string, PromiseOf>;
  readonly accepted: Set<string>;
  readonly silent: Set<string>;
  refusedBy: number;
  changed: PromiseWithResolvers<void>;
}

export class Change {
  readonly #ports: ChangePorts;
  readonly #record: Bucket<MembershipRecord>;
  readonly #jobId: string;
  #vote: Vote = { promised: 0 };
  #round: Round | undefined;
  #isRunning = false;
  #highestBallot = 0;
  #isStopped = false;
  #lastReason = "";
  readonly suspects = new Set<string>();
  readonly leaving = new Set<string>();
  /** Level, and connected to all members. */
  readonly ready = new Map<string, Candidate>();

  constructor(ports: ChangePorts, record: Bucket<MembershipRecord>, jobId: string) {
    this.#ports = ports;
    this.#record = record;
    this.#jobId = jobId;
  }

  stop(): void {
    this.#isStopped = true;
  }

  /** A new generation began: the old instance is history. */
  reset(): void {
    this.#vote = { promised: 0 };
    this.#highestBallot = 0;
    const members = new Set(this.#ports.members().map(({ workerId }) => workerId));
    for (const worker of [...this.suspects]) if (!members.has(worker)) this.suspects.delete(worker);
    for (const worker of [...this.leaving]) if (!members.has(worker)) this.leaving.delete(worker);
    for (const worker of [...this.ready.keys()]) if (members.has(worker)) this.ready.delete(worker);
    this.#round?.changed.resolve();
  }

  suspect(workerId: string): void {
    if (!this.#ports.members().some((member) => member.workerId === workerId)) return;
    this.suspects.add(workerId);
    if (this.#round !== undefined) this.#answered(() => this.#round!.silent.add(workerId));
    void this.run();
  }

  #isNeeded(): boolean {
    const members = this.#ports.members();
    const has = (set: ReadonlySet<string>) => members.some(({ workerId }) => set.has(workerId));
    const canLeave = members.length > 1 && has(this.leaving);
    return has(this.suspects) || canLeave || this.ready.size > 0 || this.#vote.promised > 0;
  }

  /** The lowest rank that is not suspected proposes. */
  #isProposer(): boolean {
    const first = this.#ports.members().find(({ workerId }) => !this.suspects.has(workerId));
    return first?.workerId === this.#ports.workerId;
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
        if (!this.#isProposer()) {
          this.#passOn();
          const generation = this.#ports.generation();
          await delay(takeOverMs * (1 + this.#rank()));
          // Without a freeze nothing waits for us; with one, a silent proposer is replaced.
          if (this.#ports.generation() !== generation) continue;
          if (this.#vote.promised === 0 && this.suspects.size === 0) return;
        }
        const startedMs = performance.now();
        if (!(await this.#propose(startedMs))) await delay(retryMs + 20 * this.#rank());
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** Tells the proposer what this member has noticed. */
  #passOn(): void {
    const proposer = this.#ports
      .members()
      .find(({ workerId }) => !this.suspects.has(workerId))!.workerId;
    for (const workerId of this.suspects) this.#ports.tell(proposer, { kind: "suspect", workerId });
    for (const workerId of this.leaving) this.#ports.tell(proposer, { kind: "leave", workerId });
    for (const candidate of this.ready.values())
      this.#ports.tell(proposer, { kind: "ready", candidate });
  }

  async #propose(startedMs: number): Promise<boolean> {
    const members = this.#ports.members();
    const generation = this.#ports.generation();
    const instance = generation + 1;
    const ballot = ballotAbove(Math.max(this.#highestBallot, this.#vote.promised), this.#rank());
    const others = members.filter(
      ({ workerId }) =>
        workerId !== this.#ports.workerId &&
        !this.suspects.has(workerId) &&
        this.#ports.isConnected(workerId),
    );
    const round: Round = {
      instance,
      ballot,
      promises: new Map(),
      accepted: new Set(),
      silent: new Set(),
      refusedBy: 0,
      changed: Promise.withResolvers(),
    };
    this.#round = round;
    try {
      this.#vote = promise(this.#vote, ballot).vote;
      this.#ports.freeze();
      const own = this.#vote.accepted === undefined ? {} : { accepted: this.#vote.accepted };
      round.promises.set(this.#ports.workerId, {
        workerId: this.#ports.workerId,
        step: this.#ports.step(),
        ...own,
      });
      for (const { workerId } of others)
        this.#ports.tell(workerId, { kind: "prepare", instance, ballot });
      await this.#until(round, () =>
        others.every(({ workerId }) => round.promises.has(workerId) || round.silent.has(workerId)),
      );
      if (round.refusedBy > 0 || this.#ports.generation() !== generation)
        return this.#ports.generation() !== generation;

      const first = await this.#mayDecide(members, new Set(round.promises.keys()));
      if (first === undefined) return false;
      const recordVote = first.needsRecord
        ? await this.#prepareRecord(generation, ballot)
        : undefined;
      if (recordVote === "refused") return false;
      const promises = [
        ...round.promises.values(),
        ...(recordVote?.accepted === undefined ? [] : [recordPromise(recordVote)]),
      ];
      const proposal = this.#proposal(generation, members, promises, round);
      return await this.#decide(round, proposal, startedMs);
    } finally {
      if (this.#round === round) this.#round = undefined;
    }
  }

  #proposal(
    generation: number,
    members: readonly Member[],
    promises: readonly PromiseOf[],
    round: Round,
  ): Proposal {
    // Somebody always stays: the last one leaves by itself, after a checkpoint.
    const staying = [...round.promises.keys()].filter((workerId) => !this.leaving.has(workerId));
    const leaving = new Set(this.leaving);
    const joining = [...this.ready.values()]
      .filter(({ workerId }) => this.#ports.isConnected(workerId))
      .slice(0, 1);
    if (staying.length === 0) leaving.delete(this.#ports.workerId);
    return proposalOf({
      generation,
      members,
      shards: this.#ports.shards,
      promises,
      leaving,
      joining,
    });
  }

  async #decide(round: Round, proposal: Proposal, startedMs: number): Promise<boolean> {
    const members = this.#ports.members();
    const generation = this.#ports.generation();
    this.#vote = accept(this.#vote, round.ballot, proposal).vote;
    if (this.#vote.accepted?.ballot !== round.ballot) return false;
    round.accepted.add(this.#ports.workerId);
    const others = [...round.promises.keys()].filter(
      (workerId) =>
        workerId !== this.#ports.workerId && members.some((member) => member.workerId === workerId),
    );
    for (const workerId of others)
      this.#ports.tell(workerId, {
        kind: "accept",
        instance: round.instance,
        ballot: round.ballot,
        proposal,
      });
    await this.#until(round, () =>
      others.every((workerId) => round.accepted.has(workerId) || round.silent.has(workerId)),
    );
    if (round.refusedBy > 0 || this.#ports.generation() !== generation)
      return this.#ports.generation() !== generation;
    const second = await this.#mayDecide(members, round.accepted);
    if (second === undefined) return false;
    if (second.needsRecord && !(await this.#writeRecord(generation, round.ballot, proposal)))
      return false;
    for (const { workerId } of [...members, ...proposal.members]) {
      if (workerId !== this.#ports.workerId)
        this.#ports.tell(workerId, { kind: "decided", proposal });
    }
    this.#ports.adopt(proposal, performance.now() - startedMs);
    if (!second.needsRecord) void this.#publishRecord(proposal);
    return true;
  }

  async #mayDecide(
    members: readonly Member[],
    answered: ReadonlySet<string>,
  ): Promise<{ readonly needsRecord: boolean } | undefined> {
    const quorum = quorumOf(members, answered, this.#ports.knownDead());
    if (quorum.kind !== "none") return { needsRecord: quorum.kind === "with-record" };
    if (quorum.reason !== this.#lastReason)
      this.#ports.log("waiting for a quorum", { reason: quorum.reason });
    this.#lastReason = quorum.reason;
    return undefined;
  }

  async #until(round: Round, isDone: () => boolean): Promise<void> {
    const deadlineMs = performance.now() + answerTimeoutMs;
    while (
      !isDone() &&
      round.refusedBy === 0 &&
      this.#ports.generation() < round.instance &&
      !this.#isStopped
    ) {
      const leftMs = deadlineMs - performance.now();
      if (leftMs <= 0) return;
      const timer = new AbortController();
      await Promise.race([
        round.changed.promise,
        delay(leftMs, undefined, { signal: timer.signal }).catch(() => undefined),
      ]);
      timer.abort();
    }
  }

  #answered(act: () => void): void {
    act();
    const round = this.#round;
    if (round === undefined) return;
    round.changed.resolve();
    round.changed = Promise.withResolvers();
  }

  // --- the record as an acceptor ---

  async #prepareRecord(generation: number, ballot: number): Promise<Vote | "refused"> {
    const entry = await this.#record.get(this.#jobId).catch(() => undefined);
    if (entry === undefined) return "refused";
    if (entry.value.generation > generation) {
      this.#seeRecord(entry.value);
      return "refused";
    }
    const base =
      entry.value.generation === generation ? entry.value : this.#recordOf(this.#ports.decided()!);
    const { vote, isPromised } = promise(voteOf(base), ballot);
    if (!isPromised) {
      this.#highestBallot = Math.max(this.#highestBallot, voteOf(base).promised);
      return "refused";
    }
    const written = await this.#record
      .update(this.#jobId, { ...base, vote }, entry.revision)
      .catch(() => undefined);
    return written === undefined ? "refused" : vote;
  }

  async #writeRecord(generation: number, ballot: number, proposal: Proposal): Promise<boolean> {
    const entry = await this.#record.get(this.#jobId).catch(() => undefined);
    if (entry === undefined) return false;
    if (entry.value.generation !== generation || voteOf(entry.value).promised !== ballot) {
      if (entry.value.generation > generation) this.#seeRecord(entry.value);
      return false;
    }
    const written = await this.#record
      .update(this.#jobId, this.#recordOf(proposal), entry.revision)
      .catch(() => undefined);
    if (written !== undefined) return true;
    // Unknown whether it was written: the record itself says.
    const now = await this.#record.get(this.#jobId).catch(() => undefined);
    return (
      now !== undefined && JSON.stringify(now.value) === JSON.stringify(this.#recordOf(proposal))
    );
  }

  #recordOf(proposal: Proposal): MembershipRecord {
    return {
      generation: proposal.generation,
      fromStep: proposal.fromStep,
      members: proposal.members,
    };
  }

  /** Brings the record up to a generation that was decided without it; retried while the bus is away. */
  async #publishRecord(proposal: Proposal): Promise<void> {
    while (!this.#isStopped && this.#ports.generation() === proposal.generation) {
      const entry = await this.#record.get(this.#jobId).catch(() => undefined);
      if (entry !== undefined) {
        if (entry.value.generation >= proposal.generation) return;
        const written = await this.#record
          .update(this.#jobId, this.#recordOf(proposal), entry.revision)
          .catch(() => undefined);
        if (written !== undefined) return;
      }
      await delay(retryMs * 5);
    }
  }

  /** The record is ahead of this member: it belongs to the new generation, or it is out. */
  #seeRecord(record: MembershipRecord): void {
    const members = record.members as readonly Member[];
    const proposal = {
      ...record,
      members,
      cause: "loss",
      joined: [],
      left: [],
      lost: [],
      level: [],
    } as Proposal;
    this.#ports.adopt(proposal, 0);
  }

  // --- messages ---

  receive(from: string, message: ControlMessage): void {
    const instance = Number(message["instance"] ?? 0);
    const generation = this.#ports.generation();
    if (instance > 0 && instance <= generation) {
      const proposal = this.#ports.decided();
      if (proposal !== undefined && message.kind === "prepare")
        this.#ports.tell(from, { kind: "decided", proposal });
      return;
    }
    if (instance > generation + 1) return;
    const ballot = Number(message["ballot"] ?? 0);
    if (message.kind === "prepare") this.#onPrepare(from, instance, ballot);
    else if (message.kind === "accept")
      this.#onAccept(from, instance, ballot, message["proposal"] as Proposal);
    else if (
      this.#round !== undefined &&
      this.#round.instance === instance &&
      this.#round.ballot === ballot
    )
      this.#onAnswer(from, message, this.#round);
  }

  #onPrepare(from: string, instance: number, ballot: number): void {
    const { vote, isPromised } = promise(this.#vote, ballot);
    this.#vote = vote;
    if (!isPromised)
      return this.#ports.tell(from, {
        kind: "refused",
        instance,
        ballot,
        promised: this.#vote.promised,
      });
    this.#ports.freeze();
    const accepted = vote.accepted === undefined ? {} : { accepted: vote.accepted };
    this.#ports.tell(from, {
      kind: "promised",
      instance,
      ballot,
      step: this.#ports.step(),
      ...accepted,
    });
    void this.run();
  }

  #onAccept(from: string, instance: number, ballot: number, proposal: Proposal): void {
    const { vote, isAccepted } = accept(this.#vote, ballot, proposal);
    this.#vote = vote;
    this.#ports.tell(
      from,
      isAccepted
        ? { kind: "accepted", instance, ballot }
        : { kind: "refused", instance, ballot, promised: vote.promised },
    );
  }

  #onAnswer(from: string, message: ControlMessage, round: Round): void {
    if (message.kind === "refused") {
      this.#highestBallot = Math.max(this.#highestBallot, Number(message["promised"]));
      this.#answered(() => {
        round.refusedBy += 1;
      });
    } else if (message.kind === "promised") {
      const accepted = message["accepted"] as Vote["accepted"];
      const given = {
        workerId: from,
        step: Number(message["step"]),
        ...(accepted === undefined ? {} : { accepted }),
      };
      this.#answered(() => round.promises.set(from, given));
    } else if (message.kind === "accepted") {
      this.#answered(() => round.accepted.add(from));
    }
  }
}

function voteOf(record: MembershipRecord): Vote {
  return (record.vote as Vote | undefined) ?? { promised: 0 };
}

/** What the record has accepted counts like a member's; it commits no steps. */
function recordPromise(vote: Vote): PromiseOf {
  return {
    workerId: "",
    step: -1,
    ...(vote.accepted === undefined ? {} : { accepted: vote.accepted }),
  };
}
