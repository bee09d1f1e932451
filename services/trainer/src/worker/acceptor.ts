/** One member's voice in the agreement on the next generation: what it has promised and accepted. */
import { accept, type Proposal, promise, type Vote } from "../decide/agreement.ts";
import type { ControlMessage } from "../exchange/peers.ts";

export interface AcceptorPorts {
  /** The next step to commit. */
  step(): number;
  /** It has begun no step as a member. */
  isNew(): boolean;
  /** Commit and contribute nothing more in this generation. */
  freeze(): void;
  /** Steps go on, and nobody is missed. */
  isAtEase(): boolean;
  tell(workerId: string, message: ControlMessage): void;
  /** It has to come to a new generation. */
  onBound(): void;
}

/** A proposer's question: of which instance, under which ballot. */
export interface Question {
  readonly instance: number;
  readonly ballot: number;
}

export class Acceptor {
  readonly #ports: AcceptorPorts;
  #vote: Vote = { promised: 0 };
  #isBound = false;
  #barrier = Number.POSITIVE_INFINITY;

  constructor(ports: AcceptorPorts) {
    this.#ports = ports;
  }

  /** A new generation began. */
  reset(): void {
    this.#vote = { promised: 0 };
    this.#isBound = false;
    this.#barrier = Number.POSITIVE_INFINITY;
  }

  get vote(): Vote {
    return this.#vote;
  }

  /** It has frozen, or accepted: the instance has to come to an end. */
  get isBound(): boolean {
    return this.#isBound;
  }

  /** This step is not begun in this generation. */
  isBarred(step: number): boolean {
    return step >= this.#barrier;
  }

  /** What it says to its own proposal's first question. */
  promises(ballot: number): boolean {
    const { vote, isPromised } = promise(this.#vote, ballot);
    this.#vote = vote;
    return isPromised;
  }

  /** Stops, so that the step that it reports is final. */
  freeze(): void {
    this.#isBound = true;
    this.#ports.freeze();
  }

  /** The step that a planned generation begins with is begun in no other. */
  bar({ fromStep }: Proposal): void {
    this.#isBound = true;
    this.#barrier = Math.min(this.#barrier, fromStep);
    if (this.#ports.step() >= this.#barrier) this.#ports.freeze();
  }

  accepts(ballot: number, proposal: Proposal): boolean {
    const { vote, isAccepted } = accept(this.#vote, ballot, proposal);
    this.#vote = vote;
    if (!isAccepted) return false;
    if (proposal.isPlanned) this.bar(proposal);
    else this.freeze();
    return true;
  }

  onPrepare(from: string, { instance, ballot }: Question): void {
    if (ballot === 0) return; // A question that is out of date.
    if (!this.promises(ballot)) return this.#refuse(from, { instance, ballot });
    this.freeze();
    const { accepted } = this.#vote;
    const { step, isNew } = this.#ports;
    const promised = { kind: "promised", instance, ballot, step: step(), isNew: isNew() };
    this.#ports.tell(from, { ...promised, ...(accepted && { accepted }) });
    this.#ports.onBound();
  }

  /** A promise that stops nobody; not from a member that has stopped, or is about to. */
  onPlan(from: string, { instance, ballot }: Question): void {
    const isAsked = !this.#isBound && this.#ports.isAtEase();
    if (!isAsked || !this.promises(ballot)) return this.#refuse(from, { instance, ballot });
    this.#ports.tell(from, { kind: "promised", instance, ballot, step: this.#ports.step() });
  }

  onAccept(from: string, { instance, ballot }: Question, proposal: Proposal): void {
    if (!this.accepts(ballot, proposal)) return this.#refuse(from, { instance, ballot });
    this.#ports.tell(from, { kind: "accepted", instance, ballot });
    this.#ports.onBound();
  }

  #refuse(from: string, { instance, ballot }: Question): void {
    const { promised } = this.#vote;
    this.#ports.tell(from, { kind: "refused", instance, ballot, promised });
  }
}
