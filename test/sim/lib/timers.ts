/** What is to happen at which simulated time: a binary heap; of the same time, the older entry first. */
export interface Timer {
  readonly atMs: number;
  readonly order: number;
  readonly fire: () => void;
  isCancelled: boolean;
}

const isBefore = (a: Timer, b: Timer) =>
  a.atMs < b.atMs || (a.atMs === b.atMs && a.order < b.order);

export class Timers {
  readonly #heap: Timer[] = [];
  #order = 0;

  add(atMs: number, fire: () => void): Timer {
    const timer: Timer = { atMs, order: this.#order, fire, isCancelled: false };
    this.#order += 1;
    const heap = this.#heap;
    let at = heap.push(timer) - 1;
    while (at > 0) {
      const parent = (at - 1) >> 1;
      if (!isBefore(timer, heap[parent]!)) break;
      heap[at] = heap[parent]!;
      at = parent;
    }
    heap[at] = timer;
    return timer;
  }

  /** The earliest, taken out; undefined when none is left. */
  next(): Timer | undefined {
    for (;;) {
      const first = this.#heap[0];
      if (first === undefined) return undefined;
      const last = this.#heap.pop()!;
      if (last !== first) this.#sink(last);
      if (!first.isCancelled) return first;
    }
  }

  #sink(timer: Timer): void {
    const heap = this.#heap;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1]!, heap[child]!)) child += 1;
      if (!isBefore(heap[child]!, timer)) break;
      heap[at] = heap[child]!;
      at = child;
    }
    heap[at] = timer;
  }
}
