/** One ballot of a proposer: who has answered what, the record among them. */
import { type MembershipRecord, within } from "@coxswain/bus";
import type { Member, PromiseOf, Proposal, Quorum, Vote } from "../decide/agreement.ts";
import { quorumOf } from "../decide/agreement.ts";
import type { ControlMessage } from "../exchange/peers.ts";
import type { Clock } from "./clock.ts";
import { type RecordAcceptor, type RecordAnswer, recordOf } from "./record-acceptor.ts";

export interface RoundPorts {
  readonly clock: Clock;
  readonly record: RecordAcceptor;
  generation(): number;
  /** The present generation, as it was decided. */
  decided(): Proposal | undefined;
  /** The record holds a generation that excludes the present one. */
  seeRecord(record: MembershipRecord): void;
}

export interface RoundOptions {
  readonly generation: number;
  readonly ballot: number;
  readonly members: readonly Member[];
}

const recordTimeoutMs = 1000;
/** While a lost member holds up the others. */
export const recordHurryMs = 150;
/** While everybody may have to wait. */
const recordAcceptTimeoutMs = 300;

export class Round {
  readonly #ports: RoundPorts;
  readonly generation: number;
  readonly ballot: number;
  readonly members: readonly Member[];
  readonly promises = new Map<string, PromiseOf>();
  readonly accepted = new Set<string>();
  readonly silent = new Set<string>();
  #record: Extract<RecordAnswer, { kind: "yes" }> | undefined;
  #isRefused = false;
  /** The highest ballot that a refusal named. */
  refusedFor = 0;

  constructor(ports: RoundPorts, { generation, ballot, members }: RoundOptions) {
    this.#ports = ports;
    this.generation = generation;
    this.ballot = ballot;
    this.members = members;
  }

  get isRefused(): boolean {
    return this.#isRefused;
  }

  answer(from: string, message: ControlMessage): void {
    if (message.kind === "refused") {
      this.refusedFor = Math.max(this.refusedFor, Number(message["promised"]));
      this.#isRefused = true;
    } else if (message.kind === "promised") {
      const accepted = message["accepted"] as Vote["accepted"];
      const step = Number(message["step"]);
      const isNew = message["isNew"] === true;
      this.promises.set(from, { workerId: from, step, isNew, ...(accepted && { accepted }) });
    } else if (message.kind === "accepted") {
      this.accepted.add(from);
    }
  }

  haveAnswered(workers: readonly string[], answers: "promises" | "accepted"): boolean {
    return workers.every((worker) => this[answers].has(worker) || this.silent.has(worker));
  }

  quorum(answers: "promises" | "accepted", knownDead: ReadonlySet<string>): Quorum {
    return quorumOf(this.members, new Set(this[answers].keys()), knownDead);
  }

  /**
   * Nobody who has promised knows how far the others have come, and no proposal says it: newcomers that
   * were still fed when the others went on.
   */
  get isBlind(): boolean {
    return this.allPromises().every(
      ({ isNew, accepted }) => accepted === undefined && isNew === true,
    );
  }

  /** What the record has accepted counts like a member's; it commits no steps. */
  allPromises(): PromiseOf[] {
    const accepted = this.#record?.vote.accepted;
    return [
      ...this.promises.values(),
      ...(accepted === undefined ? [] : [{ workerId: "", step: -1, accepted }]),
    ];
  }

  /** The record's promise; "away" when the bus is, "no" when somebody else has its word. */
  async askRecord(timeoutMs = recordTimeoutMs): Promise<"yes" | "away" | "no"> {
    if (this.#record !== undefined) return "yes";
    const { record, clock, decided, seeRecord, generation } = this.#ports;
    const asking = record.prepare(recordOf(decided()!), this.ballot);
    if (!(await within(clock, asking, timeoutMs))) return "away";
    const answer = await asking;
    if (answer.kind === "refused") this.refusedFor = Math.max(this.refusedFor, answer.promised);
    if (generation() !== this.generation) return "no";
    if (answer.kind === "ahead") seeRecord(answer.record);
    if (answer.kind === "away") return "away";
    if (answer.kind !== "yes") return "no";
    this.#record = answer;
    return "yes";
  }

  /** After its promise. False when it did not, or nobody knows. */
  async recordAccepts(proposal: Proposal): Promise<boolean> {
    const { record, clock, decided } = this.#ports;
    const { ballot } = this;
    const base = recordOf(decided()!);
    const asking = record.accept(base, ballot, proposal, this.#record!.revision);
    const isInTime = await within(clock, asking, recordAcceptTimeoutMs);
    const revision = isInTime ? await asking : undefined;
    if (revision === undefined) return false;
    const vote: Vote = { promised: ballot, accepted: { ballot, proposal } };
    this.#record = { kind: "yes", vote, revision };
    return true;
  }

  /** After its promise: the generation is written down where the last word is the record's. */
  recordDecides(proposal: Proposal): Promise<boolean> {
    return this.#ports.record.decide(proposal, this.#record!.revision);
  }
}
