/**
 * The log, read once and handed to all event streams of this instance.
 *
 * The newest events are kept in a ring, so that a client that comes back shortly after is served
 * from memory; one that asks for older ones reads the log itself until it meets the ring.
 */
import type { StoredEvent } from "@coxswain/events";

const ringMax = 4096;
/** Events that one reader may be behind before it is dropped. */
export const behindMax = 1024;

export interface Reader {
  readonly wants: (event: StoredEvent) => boolean;
  readonly push: (event: StoredEvent) => void;
}

export class FanOut {
  readonly #readers = new Set<Reader>();
  #ring: StoredEvent[] = [];

  get readerCount(): number {
    return this.#readers.size;
  }

  publish(event: StoredEvent): void {
    this.#ring.push(event);
    if (this.#ring.length > ringMax * 2) this.#ring = this.#ring.slice(-ringMax);
    for (const reader of this.#readers) if (reader.wants(event)) reader.push(event);
  }

  /**
   * Live events from here on. `after` is the last sequence that the reader has; what the ring holds
   * behind it is pushed first. Returns undefined when the ring does not reach back so far.
   */
  join(reader: Reader, after: number): (() => void) | undefined {
    const first = this.#ring[0]?.sequence;
    const reachesBack = first === undefined || first <= after + 1 || this.#ring.length < ringMax;
    if (!reachesBack) return undefined;
    for (const event of this.#ring)
      if (event.sequence > after && reader.wants(event)) reader.push(event);
    this.#readers.add(reader);
    return () => this.#readers.delete(reader);
  }
}
