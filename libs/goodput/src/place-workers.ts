/**
 * Where the workers of each job go, once their numbers are decided.
 *
 * Who keeps its number keeps its place, since each move pauses a job. The others, largest first, get
 * whole nodes and the fullest node that still holds the rest. When free room is scattered over
 * several nodes, small jobs are moved together as long as that makes room on one node for a larger
 * one; failing that, a job is spread over what is free.
 */
import { assert } from "@coxswain/domain";

export interface Placeable {
  readonly workers: number;
  /** Node of each of its present workers, equal ones adjacent. */
  readonly present: readonly number[];
}

/** Moving others is tried so often for one job. */
const makeRoomMax = 8;

/**
 * @param room how many workers each node holds, all empty
 * @returns node of each worker, for each job; equal nodes adjacent
 */
export function placeWorkers(
  jobs: readonly Placeable[],
  room: readonly number[],
): readonly (readonly number[])[] {
  const floor = new Floor(room);
  for (const [job, { workers, present }] of jobs.entries())
    if (workers > 0 && workers === present.length) floor.put(job, present);
  const moving = [...jobs.entries()]
    .filter(([, { workers, present }]) => workers > 0 && workers !== present.length)
    .sort(([, a], [, b]) => b.workers - a.workers)
    .filter(([job, { workers }]) => !floor.putTogether(job, workers));
  for (const [job, { workers }] of moving) {
    for (let tries = 0; tries < makeRoomMax && !floor.putTogether(job, workers); tries += 1)
      if (!floor.makeRoom(workers)) break;
    if (floor.placeOf(job).length === 0) floor.spread(job, workers);
  }
  return jobs.map((_, job) => floor.placeOf(job));
}

/** The nodes and who is on them. */
class Floor {
  readonly #room: readonly number[];
  readonly #free: number[];
  readonly #places = new Map<number, readonly number[]>();

  constructor(room: readonly number[]) {
    this.#room = room;
    this.#free = [...room];
  }

  placeOf(job: number): readonly number[] {
    return this.#places.get(job) ?? [];
  }

  put(job: number, nodes: readonly number[]): void {
    for (const node of nodes) this.#free[node]! -= 1;
    this.#places.set(job, nodes);
    assert(
      nodes.every((node) => this.#free[node]! >= 0),
      "a node holds what is put on it",
    );
  }

  #lift(job: number): readonly number[] {
    const nodes = this.placeOf(job);
    for (const node of nodes) this.#free[node]! += 1;
    this.#places.delete(job);
    return nodes;
  }

  /** On as few nodes as it can be: empty ones, and one for the rest. False when there are none. */
  putTogether(job: number, workers: number, avoided?: number): boolean {
    const free = this.#free.map((count, node) => (node === avoided ? 0 : count));
    const nodes: number[] = [];
    for (let left = workers; left > 0; ) {
      const node = this.#fitting(free, left);
      if (node === undefined) return false;
      const count = Math.min(left, free[node]!);
      for (let index = 0; index < count; index += 1) nodes.push(node);
      free[node]! -= count;
      left -= count;
    }
    this.put(job, nodes);
    return true;
  }

  /** The fullest node that holds all of `left`, else the largest that is empty. */
  #fitting(free: readonly number[], left: number): number | undefined {
    let best: number | undefined;
    for (const [node, count] of free.entries()) {
      const isBetter = best === undefined || count < free[best]!;
      if (count >= left && isBetter) best = node;
    }
    if (best !== undefined) return best;
    for (const [node, count] of free.entries()) {
      const isEmpty = count > 0 && count === this.#room[node];
      if (isEmpty && (best === undefined || count > free[best]!)) best = node;
    }
    return best;
  }

  /** Empties the node where that moves the fewest workers. False when none can be emptied. */
  makeRoom(workers: number): boolean {
    const candidates = this.#free
      .map((free, node) => ({ node, free, guests: this.#guestsOf(node) }))
      .filter(({ node, free, guests }) => {
        const isEnough = Math.min(workers, this.#room[node]!) > free;
        const areSmall = guests.every(
          (job) =>
            this.placeOf(job).length < this.#room[node]! &&
            this.placeOf(job).every((one) => one === node),
        );
        return isEnough && areSmall;
      })
      .map((one) => ({ ...one, used: this.#room[one.node]! - one.free }))
      .sort((a, b) => a.used - b.used || a.guests.length - b.guests.length || a.node - b.node);
    return candidates.some(({ node, guests }) => this.#empty(node, guests));
  }

  #guestsOf(node: number): number[] {
    return [...this.#places].filter(([, nodes]) => nodes.includes(node)).map(([job]) => job);
  }

  #empty(node: number, guests: readonly number[]): boolean {
    const before = guests.map((job) => [job, this.#lift(job)] as const);
    const largestFirst = before.toSorted(([, a], [, b]) => b.length - a.length);
    if (largestFirst.every(([job, nodes]) => this.putTogether(job, nodes.length, node)))
      return true;
    for (const job of guests) this.#lift(job);
    for (const [job, nodes] of before) this.put(job, nodes);
    return false;
  }

  /** Over what is free, the emptiest node first. */
  spread(job: number, workers: number): void {
    const nodes: number[] = [];
    const free = [...this.#free];
    while (nodes.length < workers) {
      const node = free.indexOf(Math.max(...free));
      assert(node >= 0 && free[node]! > 0, "there is room for what was decided");
      const count = Math.min(free[node]!, workers - nodes.length);
      for (let index = 0; index < count; index += 1) nodes.push(node);
      free[node]! -= count;
    }
    this.put(job, nodes);
  }
}
