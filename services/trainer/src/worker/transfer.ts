/** The joiner's side of a live transfer: the snapshot, and who is a member meanwhile. */
import type { Member } from "../decide/agreement.ts";
import type { Frame } from "../exchange/frames.ts";
import type { ControlMessage } from "../exchange/peers.ts";
import type { Clock } from "./clock.ts";
import type { Compute } from "./compute.ts";
import { SnapshotInbox } from "./follow.ts";
import type { Generation, Ledger } from "./ledger.ts";
import type { GroupMembership } from "./member.ts";

export interface TransferPorts {
  readonly clock: Clock;
  readonly compute: Pick<Compute, "load">;
  readonly ledger: Pick<Ledger, "inherit" | "generations">;
  readonly membership: () => GroupMembership;
  readonly programHash: string;
  readonly stateFloats: number;
  /** The group runs another program or engine. */
  readonly onMismatch: () => void;
}

export class Transfer {
  readonly #ports: TransferPorts;
  #donor: string | undefined;
  #inbox: SnapshotInbox | undefined;
  #isLoaded = false;
  #holdsState = false;
  #heardMs = 0;
  #members: readonly Member[] = [];

  constructor(ports: TransferPorts) {
    this.#ports = ports;
  }

  /** The state is in memory, as of the step where the membership stands. */
  get isLoaded(): boolean {
    return this.#isLoaded;
  }
  /** The memory holds a committed state, as of the step where the membership stands, whoever is left of those who gave it. */
  get holdsState(): boolean {
    return this.#holdsState;
  }
  get heardMs(): number {
    return this.#heardMs;
  }
  /** The present members, as the donor says. */
  get members(): readonly Member[] {
    return this.#members;
  }

  begin(donor: string): void {
    this.#donor = donor;
    this.#inbox = undefined;
    this.#isLoaded = false;
    this.#heardMs = this.#ports.clock.nowMs();
  }

  /** Another state is about to be loaded. */
  forgetState(): void {
    this.#holdsState = false;
  }

  end(): void {
    this.#donor = undefined;
    this.#isLoaded = false;
  }

  /** The donor's announcement of a snapshot. */
  onSnapshot(from: string, message: ControlMessage): void {
    if (from !== this.#donor) return;
    const { ledger, programHash, stateFloats, onMismatch } = this.#ports;
    if (message["programHash"] !== programHash || message["floats"] !== stateFloats)
      return onMismatch();
    ledger.inherit(message["generations"] as Generation[]);
    this.#members = message["members"] as readonly Member[];
    this.#inbox = new SnapshotInbox(Number(message["step"]), stateFloats);
  }

  /** The donor's word that a generation began without this worker. */
  onFormed(from: string, message: ControlMessage): void {
    if (from !== this.#donor || this.#ports.membership().state !== "joining") return;
    const { ledger } = this.#ports;
    const generation = message["generation"] as Generation;
    this.#members = message["members"] as readonly Member[];
    const known = ledger.generations.filter((one) => one.generation < generation.generation);
    ledger.inherit([...known, generation]);
  }

  onFrame(from: string, frame: Frame): void {
    const membership = this.#ports.membership();
    if (from !== this.#donor || membership.state !== "joining" || this.#isLoaded) return;
    this.#heardMs = this.#ports.clock.nowMs();
    if (this.#inbox?.receive(frame) !== true) return;
    membership.startAt(this.#inbox.step);
    void this.#ports.compute.load(0, this.#inbox.floats);
    this.#isLoaded = true;
    this.#holdsState = true;
    this.#inbox = undefined;
  }
}
