/**
 * Who may use how much. Kueue's rules for one level of cohorts, for each resource r of queue q:
 *
 *   kept_q    = nominal_q - min(nominal_q, lendingLimit_q)     what q never lends; 0 without a limit
 *   used_q   <= nominal_q + borrowingLimit_q                   no borrowing without a cohort
 *   sum over the cohort of max(0, used_q - kept_q) <= sum of (nominal_q - kept_q)
 *
 * A resource that a queue's quota does not name is not limited for that queue.
 */
import type { QueueSpec } from "@coxswain/domain";
import type { QueueView } from "./snapshot.ts";
import { noUnits, quotaName, quotaUnits, scale, type Units } from "./vector.ts";

const unlimited = Number.POSITIVE_INFINITY;
export const defaultQueue = "default";
const plainSpec: QueueSpec = { weight: 1, strategy: "BestEffortFIFO", isStopped: false };

interface QueueBook {
  readonly name: string;
  readonly spec: QueueSpec;
  readonly nominal: Units;
  /** Most that the queue may use: nominal and what it may borrow. */
  readonly limit: Units;
  readonly kept: Units;
  readonly used: number[];
}

/** What lacks for so much more. `by` is in thousandths. */
export interface Shortage {
  readonly resource: string;
  readonly by: number;
  readonly isOfCohort: boolean;
}

export class Quotas {
  #queues = new Map<string, QueueBook>();
  #cohorts = new Map<string, QueueBook[]>();

  /** Replaces the configuration; what is used stays. */
  setQueues(views: readonly QueueView[]): void {
    const before = this.#queues;
    this.#queues = new Map();
    this.#cohorts = new Map();
    const given = views.some(({ name }) => name === defaultQueue)
      ? views
      : [...views, { name: defaultQueue, spec: plainSpec }];
    for (const view of given) this.#add(bookOf(view, before.get(view.name)?.used));
    // A queue that is gone still holds what its jobs use, until they end.
    for (const [name, { used }] of before)
      if (!this.#queues.has(name) && used.some((one) => one !== 0))
        this.#add({ ...bookOf({ name, spec: plainSpec }, used), spec: { ...plainSpec } });
    this.#known = new Set(given.map(({ name }) => name));
  }
  #known: ReadonlySet<string> = new Set([defaultQueue]);

  #add(book: QueueBook): void {
    this.#queues.set(book.name, book);
    const { cohort } = book.spec;
    if (cohort !== undefined)
      this.#cohorts.set(cohort, [...(this.#cohorts.get(cohort) ?? []), book]);
  }

  /** The configuration; undefined for a queue that nobody has configured. */
  specOf(name: string): QueueSpec | undefined {
    if (this.#known.has(name)) return this.#queues.get(name)?.spec ?? plainSpec;
    return undefined;
  }

  cohortOf(name: string): string | undefined {
    return this.#queues.get(name)?.spec.cohort;
  }

  isLimited(name: string): boolean {
    return this.#queues.get(name)?.nominal.some((one) => one !== unlimited) ?? false;
  }

  #book(name: string): QueueBook {
    let book = this.#queues.get(name);
    if (book === undefined) {
      book = bookOf({ name, spec: plainSpec }, undefined);
      this.#queues.set(name, book);
    }
    return book;
  }

  /** `sign` 1 takes, -1 gives back. */
  use(name: string, units: Units, sign: number): void {
    const { used } = this.#book(name);
    for (let index = 0; index < units.length; index += 1) used[index]! += sign * units[index]!;
  }

  usedOf(name: string): Units {
    return this.#queues.get(name)?.used ?? noUnits;
  }

  nominalOf(name: string): Units {
    return this.#book(name).nominal;
  }

  /** Whether so much more would be beyond the queue's own share. */
  borrows(name: string, more: Units): boolean {
    const { nominal, used } = this.#book(name);
    return more.some((one, index) => one > 0 && used[index]! + one > nominal[index]!);
  }

  /** The first resource that lacks for so much more; undefined when it may be used. */
  shortage(name: string, more: Units): Shortage | undefined {
    const book = this.#book(name);
    for (let index = 0; index < more.length; index += 1) {
      const one = more[index]!;
      if (one === 0 || book.nominal[index] === unlimited) continue;
      const beyond = book.used[index]! + one - book.limit[index]!;
      if (beyond > 0) return { resource: quotaName(index), by: beyond, isOfCohort: false };
      const beyondCohort = this.#beyondCohort(book, index, one);
      if (beyondCohort > 0)
        return { resource: quotaName(index), by: beyondCohort, isOfCohort: true };
    }
    return undefined;
  }

  #beyondCohort(book: QueueBook, index: number, more: number): number {
    const { cohort } = book.spec;
    if (cohort === undefined) return 0;
    let [shared, used] = [0, 0];
    for (const other of this.#cohorts.get(cohort) ?? []) {
      if (other.nominal[index] === unlimited) continue;
      shared += other.nominal[index]! - other.kept[index]!;
      const plus = other === book ? more : 0;
      used += Math.max(0, other.used[index]! + plus - other.kept[index]!);
    }
    return used - shared;
  }

  /** What lacks for `more` even if nobody used anything. */
  shortageWhenEmpty(name: string, more: Units): Shortage | undefined {
    const book = this.#book(name);
    for (let index = 0; index < more.length; index += 1) {
      const one = more[index]!;
      if (one === 0 || book.nominal[index] === unlimited) continue;
      let most = book.limit[index]!;
      const { cohort } = book.spec;
      if (cohort !== undefined) {
        const lent = (this.#cohorts.get(cohort) ?? [])
          .filter((other) => other !== book && other.nominal[index] !== unlimited)
          .reduce((total, other) => total + other.nominal[index]! - other.kept[index]!, 0);
        most = Math.min(most, book.nominal[index]! + lent);
      }
      if (one > most)
        return { resource: quotaName(index), by: one - most, isOfCohort: cohort !== undefined };
    }
    return undefined;
  }

  /** Dominant share of the cluster, divided by the queue's weight (Ghodsi et al., DRF, 2011). */
  shareOf(name: string, capacity: Units): number {
    const { used, spec } = this.#book(name);
    let share = 0;
    for (let index = 0; index < used.length; index += 1)
      if (capacity[index]! > 0) share = Math.max(share, used[index]! / capacity[index]!);
    return share / spec.weight;
  }
}

function bookOf({ name, spec }: QueueView, used: number[] | undefined): QueueBook {
  const nominal = quotaUnits(spec.nominalQuota, unlimited);
  const borrow = quotaUnits(spec.borrowingLimit, spec.cohort === undefined ? 0 : unlimited);
  const lend = quotaUnits(spec.lendingLimit, unlimited);
  return {
    name,
    spec,
    nominal,
    limit: nominal.map((one, index) => one + (spec.cohort === undefined ? 0 : borrow[index]!)),
    kept: nominal.map((one, index) => (one === unlimited ? 0 : one - Math.min(one, lend[index]!))),
    used: used ?? [...noUnits],
  };
}

/** `1.5 cpu` */
export function shortageText({ resource, by }: Shortage): string {
  return `${by / scale} ${resource}`;
}
