/**
 * A change of membership: whether one is needed, and whose matter it is. The agreement itself is in
 * `proposer.ts` and `acceptor.ts`.
 */
import { type MembershipRecord, within } from "@coxswain/bus";
import type { Member, Proposal } from "../decide/agreement.ts";
import type { Paces } from "../decide/shares.ts";
import type { Updates } from "../decide/updates.ts";
import type { ControlMessage } from "../exchange/peers.ts";
import { Acceptor, type Question } from "./acceptor.ts";
import { Candidates } from "./candidates.ts";
import type { Clock } from "./clock.ts";
import { Proposer } from "./proposer.ts";
import type { RecordAcceptor } from "./record-acceptor.ts";

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
  /** It has begun no step as a member. */
  isNew(): boolean;
  /** The log tells of every step below. */
  toldStep(): number;
  /** This worker cannot go on: its process starts anew. */
  giveUp(): void;
  isConnected(workerId: string): boolean;
  knownDead(): ReadonlySet<string>;
  /** Commit and contribute nothing more in this generation. */
  freeze(): void;
  decide(proposal: Proposal, agreedMs: number): void;
  /** A step is under way, and others after it. */
  isTraining(): boolean;
  /** From where a change that is planned now would be in force. */
  switchStep(): number | undefined;
  /** Decided, and in force from a step ahead. */
  planned(): Proposal | undefined;
  /** The present generation cannot go on to the planned step. */
  breakPlan(): void;
  /** The record holds a generation that excludes the present one. */
  seeRecord(record: MembershipRecord): void;
  tell(workerId: string, message: ControlMessage): void;
  /** What each update takes, and another batch that is wanted. */
  readonly updates: Pick<Updates, "changes" | "pending" | "after" | "between">;
  /** What shares are to follow; undefined: equal ones. */
  paces(): Paces | undefined;
  /** The last decided proposal: for those who fell behind. */
  decided(): Proposal | undefined;
  log(sentence: string, fields: object): void;
}

const retryMs = 50;
/** A frozen member waits so long, and longer with its rank, before it takes over as proposer. */
const takeOverMs = 1200;
const takeOverRankMs = 300;
const laterMax = 256;

export class Change {
  readonly #ports: ChangePorts;
  readonly #acceptor: Acceptor;
  readonly #proposer: Proposer;
  #isRunning = false;
  #isStopped = false;
  #changed = Promise.withResolvers<void>();
  /** Messages of instances that this member has not reached yet. */
  #later: { readonly from: string; readonly message: ControlMessage }[] = [];
  /** A new generation is wanted though nobody comes or goes: the present one cannot go on. */
  #isRequested = false;
  /** Other shares are wanted. */
  #isRearranged = false;
  readonly suspects = new Set<string>();
  readonly leaving = new Set<string>();
  readonly candidates: Candidates;

  constructor(ports: ChangePorts) {
    this.#ports = ports;
    this.candidates = new Candidates({
      ...ports,
      isGoing: (workerId) => this.suspects.has(workerId) || this.leaving.has(workerId),
    });
    const isAtEase = () =>
      this.suspects.size === 0 && !this.#isRequested && this.#ports.isTraining();
    this.#acceptor = new Acceptor({ ...ports, isAtEase, onBound: () => void this.run() });
    this.#proposer = new Proposer({
      ...ports,
      ...{ suspects: this.suspects, leaving: this.leaving, candidates: this.candidates },
      acceptor: this.#acceptor,
      isAtEase,
      isNeeded: () => this.#isNeeded(),
      isStopped: () => this.#isStopped || this.#rank() < 0,
      pause: (ms) => this.#pause(ms),
      forgetHearsay: () => this.#forgetHearsay(),
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
    this.#acceptor.reset();
    this.#proposer.reset();
    this.#isRequested = false;
    this.#isRearranged = false;
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
    this.#ports.breakPlan();
    this.#isRequested = true;
    void this.run();
  }

  /** The same members shall agree on other shares, from a step ahead. */
  rearrange(): void {
    this.#isRearranged = true;
    void this.run();
  }

  /** This step is not begun in this generation. */
  isBarred(step: number): boolean {
    return this.#acceptor.isBarred(step);
  }

  /** Others speak of a generation that this member has not reached. */
  get isBehind(): boolean {
    return this.#later.length > 0;
  }

  suspect(workerId: string): void {
    if (!this.#ports.members().some((member) => member.workerId === workerId)) return;
    this.suspects.add(workerId);
    this.#proposer.silence(workerId);
    this.#ports.breakPlan();
    this.#wake();
    void this.run();
  }

  #isNeeded(): boolean {
    if (this.#ports.planned() !== undefined) return false;
    const members = this.#ports.members();
    const has = (set: ReadonlySet<string>) => members.some(({ workerId }) => set.has(workerId));
    const canLeave = members.length > 1 && has(this.leaving);
    return (
      this.#isRequested ||
      this.#isRearranged ||
      has(this.suspects) ||
      canLeave ||
      this.#acceptor.isBound ||
      (this.#proposer.isBatchDue && this.#whoProposes() === this.#ports.workerId) ||
      this.candidates.list().length > 0
    );
  }

  /** The lowest rank that is not suspected proposes. */
  #whoProposes(): string | undefined {
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
        if (this.#whoProposes() !== this.#ports.workerId && !(await this.#mustTakeOver())) {
          if (!this.#acceptor.isBound && this.suspects.size === 0) return; // The proposer's matter.
          continue;
        }
        if (!(await this.#proposer.propose())) await this.#pause(retryMs + 20 * this.#rank());
      }
    } finally {
      this.#isRunning = false;
    }
  }

  /** Leaves it to the proposer; true when that led to nothing in time. */
  async #mustTakeOver(): Promise<boolean> {
    this.#passOn(this.#whoProposes());
    const generation = this.#ports.generation();
    const isInterrupted = await this.#pause(takeOverMs + takeOverRankMs * this.#rank());
    if (isInterrupted || this.#ports.generation() !== generation) return false;
    return this.#isNeeded() && (this.#acceptor.isBound || this.suspects.size > 0);
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

  /** Somebody has said that it is ready. */
  heard(): void {
    this.#wake();
    void this.run();
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

  // --- messages ---

  receive(from: string, message: ControlMessage): void {
    const instance = Number(message["instance"] ?? 0);
    const generation = this.#ports.generation();
    const asks = message.kind === "prepare" || message.kind === "plan";
    const { tell, decided } = this.#ports;
    if (instance > generation + 1) return this.#receiveLater(from, message);
    if (instance <= generation) {
      const proposal = decided();
      if (proposal !== undefined && asks) tell(from, { kind: "decided", proposal });
      return;
    }
    const planned = this.#ports.planned();
    if (planned !== undefined && asks) {
      tell(from, { kind: "decided", proposal: planned });
      // Who asks so has stopped.
      if (message.kind === "prepare" && message["ballot"] !== 0) this.#ports.breakPlan();
      return;
    }
    this.#answer(from, message, { instance, ballot: Number(message["ballot"] ?? 0) });
  }

  /** Whoever is further answers a late prepare with what was decided. */
  #receiveLater(from: string, message: ControlMessage): void {
    if (this.#later.length < laterMax) this.#later.push({ from, message });
    const instance = this.#ports.generation() + 1;
    if (this.#ports.planned() !== undefined) this.#ports.breakPlan();
    else this.#ports.tell(from, { kind: "prepare", instance, ballot: 0 });
  }

  #answer(from: string, message: ControlMessage, question: Question): void {
    const acceptor = this.#acceptor;
    switch (message.kind) {
      case "prepare":
        return acceptor.onPrepare(from, question);
      case "plan":
        return acceptor.onPlan(from, question);
      case "accept":
        return acceptor.onAccept(from, question, message["proposal"] as Proposal);
      default:
        this.#proposer.answer(from, message);
        this.#wake();
    }
  }
}
