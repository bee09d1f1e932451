/**
 * How the control thread lets the compute thread commit updates by itself, and stops it.
 *
 * A run is some updates, one after the other, that nothing but a change of membership could stand in
 * the way of. One word in memory of both threads says which run it is, how many of its updates are
 * committed, and whether it is closed:
 *
 *   ticket of the run | updates committed | closed
 *
 * The compute thread commits by compare-and-set of that word, the control thread closes it by setting
 * a bit: whoever closes knows for good how far the run has come, and nothing is committed in it any
 * more but by the control thread itself. Beside the word lies what each commit has to tell.
 */
import { assert } from "@coxswain/domain";

/** Updates of a run, at most. */
export const runMax = 256;

const closedBit = 1;
const countUnit = 2;
const countBits = 9;
const ticketUnit = countUnit << countBits;
const ticketMask = (1 << 20) - 1;

/** What an update that is committed has to tell. */
export interface CommitNote {
  /** Milliseconds since the epoch. */
  readonly atMs: number;
  /** Milliseconds from the own last piece to the whole sum. */
  readonly exchangeMs: number;
  readonly metrics: Readonly<Record<string, number>>;
}

/** Milliseconds since the epoch, finer than the system's clock says them. */
export const wallMs = () => performance.timeOrigin + performance.now();

const heads = 2;

export class Gate {
  readonly buffer: SharedArrayBuffer;
  readonly #word: Int32Array;
  readonly #notes: Float64Array;
  readonly #metricNames: readonly string[];

  /** @param buffer of the other thread's gate; undefined: a new one */
  constructor(metricNames: readonly string[], buffer?: SharedArrayBuffer) {
    const floats = runMax * (heads + metricNames.length);
    this.buffer = buffer ?? new SharedArrayBuffer(8 + floats * 8);
    this.#word = new Int32Array(this.buffer, 0, 1);
    this.#notes = new Float64Array(this.buffer, 8);
    this.#metricNames = metricNames;
  }

  #noteAt(index: number): Float64Array {
    const floats = heads + this.#metricNames.length;
    return this.#notes.subarray(index * floats, (index + 1) * floats);
  }

  // --- the control thread's side ---

  /** A run of this ticket may commit from now on; of the one before nothing more. */
  open(ticket: number): void {
    Atomics.store(this.#word, 0, wordOf(ticket, 0));
  }

  /** Nothing more is committed; says how many updates of the run are. */
  close(): number {
    return countOf(Atomics.or(this.#word, 0, closedBit));
  }

  /** Updates of the run that are committed by now. */
  get committed(): number {
    return countOf(Atomics.load(this.#word, 0));
  }

  /** What the commit of this update of the run has told. */
  note(index: number): CommitNote {
    const [atMs = 0, exchangeMs = 0, ...values] = this.#noteAt(index);
    const metrics = Object.fromEntries(this.#metricNames.map((name, i) => [name, values[i]!]));
    return { atMs, exchangeMs, metrics };
  }

  // --- the compute thread's side ---

  /** Commits one more update, after `done` of them; false: the run is closed, or another one began. */
  commit(ticket: number, done: number, note: CommitNote): boolean {
    assert(done < runMax, "a run has an end");
    const floats = this.#noteAt(done);
    floats[0] = note.atMs;
    floats[1] = note.exchangeMs;
    for (const [i, name] of this.#metricNames.entries()) floats[heads + i] = note.metrics[name]!;
    const open = wordOf(ticket, done);
    return Atomics.compareExchange(this.#word, 0, open, open + countUnit) === open;
  }
}

const wordOf = (ticket: number, count: number) =>
  (ticket & ticketMask) * ticketUnit + count * countUnit;

const countOf = (word: number) => (word >>> 1) & ((1 << countBits) - 1);
