/**
 * The proposer's side of the agreement in `decide/agreement.ts`, over the connections and the
 * membership record.
 *
 * A join needs the record in its quorum, so that whoever decides later with the record and without
 * the others knows of it. It is asked before anybody is frozen: without the bus nobody joins, and
 * nobody waits. A planned change freezes nobody at all.
 */
import {
  type BatchWanted,
  ballotAbove,
  type Member,
  type Proposal,
  proposalOf,
} from "../decide/agreement.ts";
import type { Paces } from "../decide/shares.ts";
import type { Updates } from "../decide/updates.ts";
import type { ControlMessage } from "../exchange/peers.ts";
import type { Acceptor } from "./acceptor.ts";
import type { Candidates, Ready } from "./candidates.ts";
import { Round, type RoundPorts, recordHurryMs } from "./round.ts";

export interface ProposerPorts extends RoundPorts {
  readonly workerId: string;
  readonly shards: number;
  readonly acceptor: Acceptor;
  readonly candidates: Candidates;
  /** Members that are missed, and those that go. */
  readonly suspects: ReadonlySet<string>;
  readonly leaving: ReadonlySet<string>;
  members(): readonly Member[];
  step(): number;
  /** It has begun no step as a member. */
  isNew(): boolean;
  /** The log tells of every step below. */
  toldStep(): number;
  /** This worker cannot go on: its process starts anew. */
  giveUp(): void;
  isConnected(workerId: string): boolean;
  knownDead(): ReadonlySet<string>;
  trainingMax(): number | undefined;
  paces(): Paces | undefined;
  readonly updates: Pick<Updates, "changes" | "pending" | "after">;
  /** From where a change that is planned now would be in force. */
  switchStep(): number | undefined;
  /** A new generation is still wanted. */
  isNeeded(): boolean;
  /** Steps go on, nobody is missed, and no new start was asked for. */
  isAtEase(): boolean;
  isStopped(): boolean;
  /** So long at most, or until something is heard. */
  pause(ms: number): Promise<boolean>;
  /** What others say of a member counts for one round. */
  forgetHearsay(): void;
  tell(workerId: string, message: ControlMessage): void;
  decide(proposal: Proposal, agreedMs: number): void;
  log(sentence: string, fields: object): void;
}

const answerTimeoutMs = 1000;
const standbyWordMs = 50;
/** Without the record no batch is changed: asked for again after so long. */
const batchRetryMs = 1000;
type Newcomer = Ready["candidate"] | undefined;

/** What a round in a healthy group may bring. */
interface Wishes {
  readonly candidate: Newcomer;
  readonly batch: BatchWanted | undefined;
}

export class Proposer {
  readonly #ports: ProposerPorts;
  #round: Round | undefined;
  /** Of what others have refused for. */
  #highestBallot = 0;
  /** A plan came to nothing in this generation. */
  #hasPlanned = false;
  #lastReason = "";
  #batchNotBeforeMs = Number.NEGATIVE_INFINITY;

  constructor(ports: ProposerPorts) {
    this.#ports = ports;
  }

  /** A new generation began. */
  reset(): void {
    this.#highestBallot = 0;
    this.#hasPlanned = false;
  }

  /** This member is not waited for any more. */
  silence(workerId: string): void {
    this.#round?.silent.add(workerId);
  }

  answer(from: string, message: ControlMessage): void {
    const round = this.#round;
    const isOfRound =
      round?.generation === this.#ports.generation() && round.ballot === message["ballot"];
    if (isOfRound) round.answer(from, message);
  }

  /** One round; true when a generation came out of it, or nothing has to change any more. */
  async propose(): Promise<boolean> {
    const { clock, suspects, isNeeded, isAtEase, acceptor } = this.#ports;
    const startedMs = clock.nowMs();
    const round = this.#newRound();
    const isCalm = suspects.size === 0;
    const wishes = {
      candidate: isCalm ? await this.#admit(round) : undefined,
      batch: isCalm ? await this.#admitBatch(round) : undefined,
    };
    this.#highestBallot = Math.max(this.#highestBallot, round.refusedFor);
    if (this.#isOver(round) || !isNeeded()) return true;
    const canPlan = !this.#hasPlanned && !acceptor.isBound && isAtEase();
    if (!acceptor.promises(round.ballot)) return false;
    this.#round = round;
    try {
      return canPlan
        ? await this.#plan(round, wishes, startedMs)
        : await this.#stopAndAgree(round, wishes, startedMs);
    } finally {
      this.#highestBallot = Math.max(this.#highestBallot, round.refusedFor);
      if (this.#round === round) this.#round = undefined;
    }
  }

  async #stopAndAgree(round: Round, wishes: Wishes, startedMs: number): Promise<boolean> {
    const { acceptor, knownDead, forgetHearsay, isConnected } = this.#ports;
    acceptor.freeze();
    await this.#gather(round, "prepare");
    if (this.#isOver(round)) return true;
    if (round.isRefused) return false;
    const quorum = round.quorum("promises", knownDead());
    if (quorum.kind === "none") {
      forgetHearsay();
      return this.#waits(quorum.reason);
    }
    if (quorum.kind === "with-record" && !(await this.#askRecord(round))) return false;
    const isMajority = quorum.kind === "majority";
    const joins = isMajority ? (wishes.candidate ?? (await this.#takePlace(round))) : undefined;
    if (this.#isOver(round)) return true;
    if (round.isBlind && !this.#mayGoOnBlind(round)) return this.#isOver(round);
    // Who has hung up meanwhile has given up.
    const joining = joins !== undefined && isConnected(joins.workerId) ? [joins] : [];
    const batchWanted = isMajority ? wishes.batch : undefined;
    const proposal = this.#proposal(round, { joining, batchWanted });
    return (
      (await this.#recordTakes(round, proposal)) && (await this.#decide(round, proposal, startedMs))
    );
  }

  /**
   * Newcomers alone do as who follows and is left alone (`join.ts`): once the others are dead, they go on
   * where the log tells of one update beyond at most. Else a checkpoint is the better place to start.
   */
  #mayGoOnBlind({ members, promises }: Round): boolean {
    const { knownDead, toldStep, updates, giveUp } = this.#ports;
    const others = members.filter(({ workerId }) => !promises.has(workerId));
    if (others.some(({ workerId }) => !knownDead().has(workerId)))
      return this.#waits("who is left is new, and the others may have gone on");
    const step = Math.max(...[...promises.values()].map((promise) => promise.step));
    if (toldStep() <= updates.after(step)) return true;
    giveUp();
    return false;
  }

  /** For a step ahead, and nobody stops. False when it does not come to that. */
  async #plan(round: Round, { candidate, batch }: Wishes, startedMs: number): Promise<boolean> {
    const { acceptor, isAtEase, isConnected, switchStep, suspects } = this.#ports;
    this.#hasPlanned = true; // Until the next generation, which is this one's if all goes well.
    await this.#gather(round, "plan");
    if (this.#isOver(round)) return true;
    const at = switchStep();
    const isWhole = round.promises.size === round.members.length && !round.isRefused;
    const isOpen = acceptor.vote.promised === round.ballot && !acceptor.isBound && isAtEase();
    if (!isWhole || !isOpen || at === undefined) return false;
    const joining = candidate !== undefined && isConnected(candidate.workerId) ? [candidate] : [];
    const proposal = this.#proposal(round, { joining, batchWanted: batch }, at);
    // Before anybody hears of it: then nobody is beyond this step, whenever they do.
    acceptor.bar(proposal);
    if (!(await this.#recordTakes(round, proposal))) return false;
    // Whoever is lost meanwhile shall not be in what is decided.
    if (suspects.size > 0) return this.#isOver(round);
    return await this.#decide(round, proposal, startedMs);
  }

  #newRound(): Round {
    const { generation, members, acceptor, workerId } = this.#ports;
    const highest = Math.max(this.#highestBallot, acceptor.vote.promised);
    const rank = members().findIndex((member) => member.workerId === workerId);
    const ballot = ballotAbove(highest, rank);
    return new Round(this.#ports, { generation: generation(), ballot, members: members() });
  }

  #isOver(round: Round): boolean {
    const { generation, isStopped } = this.#ports;
    return generation() !== round.generation || isStopped();
  }

  #waits(reason: string): false {
    if (reason !== this.#lastReason) this.#ports.log("waiting for a quorum", { reason });
    this.#lastReason = reason;
    return false;
  }

  async #askRecord(round: Round, timeoutMs?: number): Promise<boolean> {
    const answer = await round.askRecord(timeoutMs);
    if (answer === "away") this.#waits("the bus is away");
    return answer === "yes" && !this.#isOver(round);
  }

  /** Who joins in this round: one at a time, into a healthy group, when the record can be asked. */
  async #admit(round: Round): Promise<Newcomer> {
    const { candidates, acceptor } = this.#ports;
    const candidate = candidates.list()[0]?.candidate;
    if (candidate === undefined || acceptor.isBound) return undefined;
    if (await this.#askRecord(round)) return candidate;
    candidates.remove(candidate.workerId); // It asks again.
    return undefined;
  }

  /** Another batch is wanted, and the record was not away just now. */
  get isBatchDue(): boolean {
    const { updates, clock } = this.#ports;
    return updates.pending !== undefined && clock.nowMs() >= this.#batchNotBeforeMs;
  }

  /** Another batch, as somebody joins: the record knows of it before it holds. */
  async #admitBatch(round: Round): Promise<BatchWanted | undefined> {
    const { updates, acceptor } = this.#ports;
    if (!this.isBatchDue || acceptor.isBound) return undefined;
    if (await this.#askRecord(round)) return updates.pending;
    this.#postponeBatch();
    return undefined;
  }

  #postponeBatch(): void {
    this.#batchNotBeforeMs = this.#ports.clock.nowMs() + batchRetryMs;
  }

  /** Somebody who stood by joins in a lost member's place, if the record answers at once. */
  async #takePlace(round: Round): Promise<Newcomer> {
    const { suspects, trainingMax } = this.#ports;
    if (suspects.size === 0 || trainingMax() === undefined) return undefined;
    const ready = await this.#standby(round);
    if (ready === undefined || !(await this.#askRecord(round, recordHurryMs))) return undefined;
    return ready.candidate;
  }

  /**
   * Who can go on from where the members are. Whose donor was lost says so itself, with the last step
   * that it was given: nobody holds older ones than that.
   */
  async #standby(round: Round): Promise<Ready | undefined> {
    const { clock, candidates, suspects, pause, updates } = this.#ports;
    const fromStep = Math.max(...[...round.promises.values()].map(({ step }) => step));
    const deadlineMs = clock.nowMs() + standbyWordMs;
    for (;;) {
      const all = candidates.list();
      const found = all.find(
        ({ donor, step }) => !suspects.has(donor) || updates.after(step) >= fromStep,
      );
      const leftMs = deadlineMs - clock.nowMs();
      if (found !== undefined || all.length === 0 || leftMs <= 0 || this.#isOver(round))
        return found;
      await pause(leftMs);
    }
  }

  /** Asks all that can be reached for their promise. */
  async #gather(round: Round, kind: "plan" | "prepare"): Promise<void> {
    const { workerId: me, step, isNew, tell, isConnected, suspects, acceptor } = this.#ports;
    const { accepted } = acceptor.vote;
    const own = { workerId: me, step: step(), isNew: isNew(), ...(accepted && { accepted }) };
    round.promises.set(me, own);
    const others = round.members
      .map(({ workerId }) => workerId)
      .filter((worker) => worker !== me && !suspects.has(worker) && isConnected(worker));
    const { ballot } = round;
    for (const worker of others) tell(worker, { kind, instance: round.generation + 1, ballot });
    await this.#until(round, () => round.haveAnswered(others, "promises"));
  }

  #proposal(
    round: Round,
    wishes: {
      readonly joining: readonly Ready["candidate"][];
      readonly batchWanted: BatchWanted | undefined;
    },
    switchStep?: number,
  ): Proposal {
    const { workerId, shards, paces, updates } = this.#ports;
    // Somebody always stays: the last one leaves by itself, after a checkpoint.
    const leaving = new Set(this.#ports.leaving);
    const staying = [...round.promises.keys()].filter((worker) => !leaving.has(worker));
    if (staying.length === 0) leaving.delete(workerId);
    const { generation, members } = round;
    const promises = round.allPromises();
    const who = { generation, members, promises, leaving, ...wishes };
    return proposalOf({ ...who, shards, paces: paces(), batches: updates.changes, switchStep });
  }

  #hasNewBatch({ batches }: Proposal): boolean {
    return batches?.at(-1)?.decision !== this.#ports.updates.changes.at(-1)?.decision;
  }

  /** A join or another batch: the record accepts before any member does, so that a failure leaves them free. */
  async #recordTakes(round: Round, proposal: Proposal): Promise<boolean> {
    if (proposal.joined.length === 0 && !this.#hasNewBatch(proposal)) return true;
    if (!(await this.#askRecord(round))) return false;
    if (await round.recordAccepts(proposal)) return true;
    for (const worker of proposal.joined) this.#ports.candidates.remove(worker);
    this.#postponeBatch();
    return this.#waits("the bus is away");
  }

  async #decide(round: Round, proposal: Proposal, startedMs: number): Promise<boolean> {
    const { tell, decide, clock, workerId: me, acceptor, knownDead } = this.#ports;
    if (this.#isOver(round)) return true;
    if (!acceptor.accepts(round.ballot, proposal)) return false;
    round.accepted.add(me);
    const others = [...round.promises.keys()].filter((worker) => worker !== me);
    const { generation, ballot } = round;
    for (const worker of others)
      tell(worker, { kind: "accept", instance: generation + 1, ballot, proposal });
    const quorum = () => round.quorum("accepted", knownDead());
    await this.#until(
      round,
      () => quorum().kind === "majority" || round.haveAnswered(others, "accepted"),
    );
    if (this.#isOver(round)) return true;
    const last = quorum();
    if (last.kind === "none") return round.isRefused ? false : this.#waits(last.reason);
    const isByRecord = last.kind === "with-record";
    if (isByRecord && !(await this.#askRecord(round))) return false;
    if (isByRecord && !(await round.recordDecides(proposal))) return false;
    if (this.#isOver(round)) return true;
    for (const worker of new Set([...round.members, ...proposal.members].map((m) => m.workerId)))
      if (worker !== me) tell(worker, { kind: "decided", proposal });
    decide(proposal, clock.nowMs() - startedMs);
    return true;
  }

  async #until(round: Round, isDone: () => boolean): Promise<void> {
    const { clock, pause } = this.#ports;
    const deadlineMs = clock.nowMs() + answerTimeoutMs;
    while (!isDone() && !round.isRefused && !this.#isOver(round)) {
      const leftMs = deadlineMs - clock.nowMs();
      if (leftMs <= 0) return;
      await pause(leftMs);
    }
  }
}
