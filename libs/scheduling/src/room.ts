/** Room on the nodes: what is free, and who fits where. Mutable, private to one cycle. */
import { compareText, type NodeView, type Vector } from "./snapshot.ts";

/** Sums of fractions of a core are not exact. */
const epsilon = 1e-9;

export interface FreeNode {
  readonly nodeId: string;
  readonly engines: NodeView["engines"];
  free: { cpu: number; memoryMib: number; gpu: number };
}

export class Room {
  readonly #nodes: Map<string, FreeNode>;

  constructor(nodes: readonly NodeView[]) {
    const alive = nodes
      .filter(({ isAlive }) => isAlive)
      .toSorted((a, b) => compareText(a.nodeId, b.nodeId));
    this.#nodes = new Map(
      alive.map(({ nodeId, engines, capacity }) => [
        nodeId,
        { nodeId, engines, free: { ...capacity } },
      ]),
    );
  }

  copy(): Room {
    const room = new Room([]);
    for (const [id, node] of this.#nodes) room.#nodes.set(id, { ...node, free: { ...node.free } });
    return room;
  }

  has(nodeId: string): boolean {
    return this.#nodes.has(nodeId);
  }

  take(nodeId: string, need: Vector): void {
    this.#change(nodeId, need, -1);
  }

  give(nodeId: string, need: Vector): void {
    this.#change(nodeId, need, 1);
  }

  #change(nodeId: string, need: Vector, sign: number): void {
    const free = this.#nodes.get(nodeId)?.free;
    if (free === undefined) return;
    free.cpu += sign * need.cpu;
    free.memoryMib += sign * need.memoryMib;
    free.gpu += sign * need.gpu;
  }

  /**
   * The fullest node on which one more worker fits (best fit), among those that have the engine; it
   * leaves whole nodes for large workers. Ties go to the lower id.
   */
  bestFit(need: Vector, engine: string | undefined): FreeNode | undefined {
    const fitting = [...this.#nodes.values()].filter(
      ({ free, engines }) =>
        fits(free, need) &&
        (engine === undefined || engines.some(({ identity }) => identity === engine)),
    );
    return fitting.sort(
      (a, b) =>
        a.free.cpu - b.free.cpu ||
        a.free.memoryMib - b.free.memoryMib ||
        compareText(a.nodeId, b.nodeId),
    )[0];
  }

  /** Engine identities on live nodes, best first as the nodes list them, with ties in order of node. */
  engines(): { readonly name: string; readonly identity: string }[] {
    const seen = new Map<string, { name: string; identity: string; rank: number }>();
    for (const { engines } of this.#nodes.values()) {
      for (const [rank, engine] of engines.entries()) {
        const known = seen.get(engine.identity);
        seen.set(engine.identity, { ...engine, rank: Math.min(rank, known?.rank ?? rank) });
      }
    }
    return [...seen.values()]
      .sort((a, b) => a.rank - b.rank)
      .map(({ name, identity }) => ({ name, identity }));
  }
}

function fits(free: Vector, need: Vector): boolean {
  return free.cpu + epsilon >= need.cpu && free.memoryMib >= need.memoryMib && free.gpu >= need.gpu;
}
