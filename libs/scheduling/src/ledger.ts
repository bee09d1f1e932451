/** Room and quota together, with a way back: what one cycle tries is undone at its end. */
import type { Quotas } from "./quota.ts";
import type { Room } from "./room.ts";
import type { Units } from "./vector.ts";

interface Entry {
  readonly nodeId: string;
  /** Undefined for what no quota counts: online services. */
  readonly queue: string | undefined;
  readonly units: Units;
  readonly sign: number;
}

export class Ledger {
  readonly room: Room;
  readonly quotas: Quotas;
  readonly #entries: Entry[] = [];

  constructor(room: Room, quotas: Quotas) {
    this.room = room;
    this.quotas = quotas;
  }

  take(nodeId: string, queue: string | undefined, units: Units): void {
    this.#change({ nodeId, queue, units, sign: 1 });
  }

  give(nodeId: string, queue: string | undefined, units: Units): void {
    this.#change({ nodeId, queue, units, sign: -1 });
  }

  #change(entry: Entry): void {
    this.#entries.push(entry);
    this.#use(entry, entry.sign);
  }

  #use({ nodeId, queue, units }: Entry, sign: number): void {
    this.room.use(nodeId, units, sign);
    if (queue !== undefined) this.quotas.use(queue, units, sign);
  }

  mark(): number {
    return this.#entries.length;
  }

  /** Undoes everything since the mark. */
  rollback(mark: number): void {
    while (this.#entries.length > mark) {
      const entry = this.#entries.pop()!;
      this.#use(entry, -entry.sign);
    }
  }

  /** The answer of `question`, and everything as before. */
  try<Answer>(question: () => Answer): Answer {
    const mark = this.mark();
    try {
      return question();
    } finally {
      this.rollback(mark);
    }
  }
}
