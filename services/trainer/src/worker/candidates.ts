/** Workers that hold the state and ask to become members. */
import type { Candidate, Member } from "../decide/agreement.ts";
import type { Updates } from "../decide/updates.ts";
import type { Clock } from "./clock.ts";

export interface Ready {
  readonly candidate: Candidate;
  /** Members that it is connected to. */
  readonly connected: readonly string[];
  /** The next step that it could commit. */
  readonly step: number;
  /** Whose steps it follows. */
  readonly donor: string;
}

export interface CandidatesPorts {
  readonly clock: Clock;
  readonly shards: number;
  /** So many members at most: the others stand by. */
  trainingMax(): number | undefined;
  members(): readonly Member[];
  /** Those who will be members no more. */
  isGoing(workerId: string): boolean;
  /** The next step to commit. */
  step(): number;
  readonly updates: Pick<Updates, "between">;
  isConnected(workerId: string): boolean;
}

/** A candidate repeats its word more often than this. */
const freshMs = 2000;
/** Updates that a candidate may lie behind when it says its word: it applies them faster than others compute one. */
const behindMax = 16;

export class Candidates {
  readonly #ports: CandidatesPorts;
  readonly #ready = new Map<string, Ready & { readonly atMs: number; readonly lag: number }>();

  constructor(ports: CandidatesPorts) {
    this.#ports = ports;
  }

  add(ready: Ready): void {
    const { clock, step, updates } = this.#ports;
    const heard = { atMs: clock.nowMs(), lag: updates.between(ready.step, step()) };
    this.#ready.set(ready.candidate.workerId, { ...ready, ...heard });
  }

  remove(workerId: string): void {
    this.#ready.delete(workerId);
  }

  /**
   * Those that could be members at once, in order of asking, while there is a place. The others are
   * forgotten: they ask again. Who stands by while a member is lost knows no more of it than that it
   * was connected to it.
   */
  list(): readonly Ready[] {
    const { clock, members, isConnected } = this.#ports;
    const present = members();
    for (const [workerId, { connected, donor, lag, atMs }] of this.#ready) {
      const isMember = present.some((member) => member.workerId === workerId);
      const knowsAll = present.every((member) => connected.includes(member.workerId));
      const isFed = present.some((member) => member.workerId === donor);
      const isFresh = clock.nowMs() - atMs < freshMs && lag <= behindMax;
      if (isMember || !knowsAll || !isFed || !isFresh || !isConnected(workerId))
        this.#ready.delete(workerId);
    }
    return this.isFull ? [] : [...this.#ready.values()];
  }

  get isFull(): boolean {
    const { members, isGoing, trainingMax, shards } = this.#ports;
    const staying = members().filter(({ workerId }) => !isGoing(workerId));
    return staying.length >= Math.min(shards, trainingMax() ?? shards);
  }
}
