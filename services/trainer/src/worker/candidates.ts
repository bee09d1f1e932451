/** Workers that hold the state and ask to become members. */
import type { Candidate, Member } from "../decide/agreement.ts";
import type { Clock } from "./clock.ts";

export interface Ready {
  readonly candidate: Candidate;
  /** Members that it is connected to. */
  readonly connected: readonly string[];
  /** The next step that it could commit. */
  readonly step: number;
}

export interface CandidatesPorts {
  readonly clock: Clock;
  readonly shards: number;
  members(): readonly Member[];
  step(): number;
  isConnected(workerId: string): boolean;
}

/** A candidate repeats its word more often than this. */
const freshMs = 2000;
/** Steps that a candidate may lie behind: it applies them faster than others compute one. */
const behindMax = 16;

export class Candidates {
  readonly #ports: CandidatesPorts;
  readonly #ready = new Map<string, Ready & { readonly atMs: number }>();

  constructor(ports: CandidatesPorts) {
    this.#ports = ports;
  }

  add(ready: Ready): void {
    this.#ready.set(ready.candidate.workerId, { ...ready, atMs: this.#ports.clock.nowMs() });
  }

  remove(workerId: string): void {
    this.#ready.delete(workerId);
  }

  /** Those that could be members at once, in order of asking. The others are forgotten: they ask again. */
  list(): readonly Ready[] {
    const { clock, shards, members, step, isConnected } = this.#ports;
    for (const [workerId, { connected, step: theirs, atMs }] of this.#ready) {
      const isMember = members().some((member) => member.workerId === workerId);
      const knowsAll = members().every((member) => connected.includes(member.workerId));
      const isFresh = clock.nowMs() - atMs < freshMs && theirs >= step() - behindMax;
      if (isMember || !knowsAll || !isFresh || !isConnected(workerId)) this.#ready.delete(workerId);
    }
    return members().length < shards ? [...this.#ready.values()] : [];
  }
}
