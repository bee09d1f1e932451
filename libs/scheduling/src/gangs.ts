/**
 * The jobs that wait, each whole or not at all. Order: who stays within its queue's own quota, then
 * the higher priority, then the queue with the smaller weighted share, then the older.
 *
 * In a BestEffortFIFO queue a gang that does not fit lets others pass; in a StrictFIFO queue nobody
 * passes the first. What failed is tried again in the same cycle only after room was given back.
 */
import type { Job } from "@coxswain/domain";
import type { Cycle } from "./draft.ts";
import type { PendingClass } from "./pending.ts";
import { byAge, byImportance, type Wait } from "./snapshot.ts";
import { tryGang } from "./try-gang.ts";
import { times } from "./vector.ts";

interface Candidate {
  readonly one: PendingClass;
  readonly head: Job;
  readonly borrows: boolean;
  readonly share: number;
}

/** Places what fits; the answer says why each other class waits. */
export function placeGangs(cycle: Cycle): ReadonlyMap<PendingClass, Wait> {
  return new Gangs(cycle).run();
}

class Gangs {
  readonly #cycle: Cycle;
  /** How many of each class were placed in this cycle. */
  readonly #taken = new Map<PendingClass, number>();
  readonly #failed = new Map<PendingClass, Wait>();
  #placements = 0;

  constructor(cycle: Cycle) {
    this.#cycle = cycle;
  }

  run(): ReadonlyMap<PendingClass, Wait> {
    this.#rememberFailures();
    for (let candidates = this.#candidates(); candidates.length > 0; ) {
      const candidate = candidates.shift()!;
      const { gives } = this.#cycle;
      if (!this.#try(candidate)) continue;
      if (this.#placements === 1) this.#forgetFailuresAfter(candidate);
      if (this.#cycle.gives !== gives) this.#failed.clear();
      candidates = this.#candidates();
    }
    this.#explainBlocked();
    return this.#failed;
  }

  /** What failed before, with nothing changed since, fails again: it is not tried. */
  #rememberFailures(): void {
    const { version, pending } = this.#cycle.state;
    for (const one of pending.classes)
      if (one.failure?.version === version) this.#failed.set(one, one.failure.wait);
  }

  /** Those who stood behind the first that was placed have not seen the cluster with it. */
  #forgetFailuresAfter(placed: Candidate): void {
    for (const one of [...this.#failed.keys()]) {
      const { failure } = one;
      if (failure === undefined) continue;
      const then = { one, head: one.members[0]!, borrows: failure.borrows, share: failure.share };
      if (compare(then, placed) > 0) this.#failed.delete(one);
    }
  }

  #head(one: PendingClass): Job | undefined {
    return one.members[this.#taken.get(one) ?? 0];
  }

  /** Classes that may be tried now, in order. */
  #candidates(): Candidate[] {
    const { quotas, room, pending } = this.#cycle.state;
    const found: Candidate[] = [];
    const firstOf = this.#firstOfStrictQueues();
    for (const one of pending.classes) {
      const head = this.#head(one);
      if (head === undefined || this.#failed.has(one)) continue;
      if ((firstOf.get(one.queue) ?? one) !== one) continue;
      const borrows = quotas.borrows(one.queue, times(one.units, head.spec.workers.min));
      found.push({ one, head, borrows, share: quotas.shareOf(one.queue, room.capacity) });
    }
    return found.sort(compare);
  }

  #firstOfStrictQueues(): ReadonlyMap<string, PendingClass> {
    const { quotas, pending } = this.#cycle.state;
    const first = new Map<string, PendingClass>();
    for (const one of pending.classes) {
      const head = this.#head(one);
      if (head === undefined || quotas.specOf(one.queue)?.strategy !== "StrictFIFO") continue;
      const known = first.get(one.queue);
      if (known === undefined || byImportance(head, this.#head(known)!) < 0)
        first.set(one.queue, one);
    }
    return first;
  }

  #try({ one, head, borrows, share }: Candidate): boolean {
    const { state, placed } = this.#cycle;
    const result = tryGang(this.#cycle, head);
    if (result.kind === "placed") {
      placed.push(result.draft);
      this.#taken.set(one, (this.#taken.get(one) ?? 0) + 1);
      this.#placements += 1;
      return true;
    }
    this.#failed.set(one, result.wait);
    // Valid for the state as it is outside of this cycle, so only while the cycle changed nothing.
    one.failure =
      this.#placements === 0
        ? { version: state.version, wait: result.wait, borrows, share }
        : undefined;
    return false;
  }

  #explainBlocked(): void {
    const firstOf = this.#firstOfStrictQueues();
    for (const one of this.#cycle.state.pending.classes) {
      if (this.#head(one) === undefined || this.#failed.has(one)) continue;
      const first = firstOf.get(one.queue);
      const message = `Job "${first === undefined ? "" : this.#head(first)!.id}" stands first in queue "${one.queue}", where nobody passes.`;
      this.#failed.set(one, { reason: "WaitingForQueueHead", message });
    }
  }
}

function compare(a: Candidate, b: Candidate): number {
  return (
    Number(a.borrows) - Number(b.borrows) ||
    b.one.priority - a.one.priority ||
    a.share - b.share ||
    byAge(a.head, b.head)
  );
}
