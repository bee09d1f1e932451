/** Room on the nodes: what is free, and who fits where. */
import { FreeIndex } from "./free-index.ts";
import { isAlike, type NodeView } from "./snapshot.ts";
import { gpuIndex, gpuMemoryIndex, isWithin, noUnits, type Units, unitsOf } from "./vector.ts";

/** What one worker or replica needs of the node that it shall run on. */
export interface Ask {
  readonly units: Units;
  /** An engine's identity; undefined: any. */
  readonly engine?: string | undefined;
  readonly selector?: Readonly<Record<string, string>> | undefined;
}

export interface RoomNode {
  readonly nodeId: string;
  readonly view: NodeView;
  readonly capacity: Units;
  /** Memory of each GPU; a worker's GPUs are as large as it asks for. */
  readonly gpuMemoryEach: number;
  free: number[];
}

export class Room {
  readonly #nodes = new Map<string, RoomNode>();
  /** Used on nodes, also on those that are away: they may come back. */
  readonly #used = new Map<string, number[]>();
  readonly #index = new FreeIndex<RoomNode>();
  readonly #overbooked = new Set<string>();
  #capacity: number[] = [...noUnits];
  #engines: readonly { readonly name: string; readonly identity: string }[] | undefined;

  /** A node as it is now. Returns whether anything that matters here has changed. */
  setNode(view: NodeView): boolean {
    const known = this.#nodes.get(view.nodeId);
    if (!view.isAlive) return this.removeNode(view.nodeId);
    if (known !== undefined && isAlike(known.view, view)) return false;
    this.removeNode(view.nodeId);
    const capacity = unitsOf(view.capacity);
    const used = this.#used.get(view.nodeId);
    const node: RoomNode = {
      nodeId: view.nodeId,
      view,
      capacity,
      gpuMemoryEach: gpuMemoryEach(capacity),
      free: capacity.map((one, index) => one - (used?.[index] ?? 0)),
    };
    this.#nodes.set(view.nodeId, node);
    this.#add(node);
    this.#count(capacity, 1);
    return true;
  }

  removeNode(nodeId: string): boolean {
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return false;
    this.#nodes.delete(nodeId);
    this.#index.remove(node);
    this.#overbooked.delete(nodeId);
    this.#count(node.capacity, -1);
    return true;
  }

  #count(capacity: Units, sign: number): void {
    this.#capacity = this.#capacity.map((one, index) => one + sign * capacity[index]!);
    this.#engines = undefined;
  }

  #add(node: RoomNode): void {
    this.#index.add(node);
    const isOverbooked = node.view.isClosed !== true && node.free.some((one) => one < 0);
    if (isOverbooked) this.#overbooked.add(node.nodeId);
    else this.#overbooked.delete(node.nodeId);
  }

  /** Live, open nodes of which more is used than there is. */
  get overbooked(): ReadonlySet<string> {
    return this.#overbooked;
  }

  /** Of all live nodes together. */
  get capacity(): Units {
    return this.#capacity;
  }

  get nodes(): Iterable<RoomNode> {
    return this.#nodes.values();
  }

  nodeOf(nodeId: string): RoomNode | undefined {
    return this.#nodes.get(nodeId);
  }

  has(nodeId: string): boolean {
    return this.#nodes.has(nodeId);
  }

  /** `sign` 1 takes, -1 gives back. */
  use(nodeId: string, units: Units, sign: number): void {
    let used = this.#used.get(nodeId);
    if (used === undefined) {
      used = [...noUnits];
      this.#used.set(nodeId, used);
    }
    for (let index = 0; index < units.length; index += 1) used[index]! += sign * units[index]!;
    const node = this.#nodes.get(nodeId);
    if (node === undefined) return;
    this.#index.remove(node);
    for (let index = 0; index < units.length; index += 1) node.free[index]! -= sign * units[index]!;
    this.#add(node);
  }

  /**
   * The fullest node on which one more fits (best fit), among those that are meant; it leaves whole
   * nodes for large workers, and nodes with GPUs for those who need them. Ties go to the lower id.
   */
  bestFit(ask: Ask): RoomNode | undefined {
    return this.#index.first(ask.units, (node) => isMeant(node, ask));
  }

  /** The fullest different nodes on which one more fits, the fullest first. */
  fullest(ask: Ask, limit: number): RoomNode[] {
    return this.#index.firstDifferent(ask.units, (node) => isMeant(node, ask), limit);
  }

  /** The node with the lowest id on which one more fits. */
  firstFit(ask: Ask): RoomNode | undefined {
    let first: RoomNode | undefined;
    for (const node of this.#nodes.values())
      if (isWithin(ask.units, node.free) && isMeant(node, ask))
        if (first === undefined || node.nodeId < first.nodeId) first = node;
    return first;
  }

  /** Nodes that would do if they were empty. */
  hasMatch(ask: Ask): boolean {
    for (const node of this.#nodes.values())
      if (isMeant(node, ask) && isWithin(ask.units, node.capacity)) return true;
    return false;
  }

  /** Live nodes that the ask's engine and selector allow, whatever their size. */
  hasKind(ask: Ask): boolean {
    for (const node of this.#nodes.values())
      if (isMeant(node, { ...ask, units: noUnits })) return true;
    return false;
  }

  /** Engine identities on live nodes, best first as the nodes list them, with ties by identity. */
  engines(): readonly { readonly name: string; readonly identity: string }[] {
    this.#engines ??= enginesOf(this.#nodes.values());
    return this.#engines;
  }
}

function enginesOf(nodes: Iterable<RoomNode>) {
  const seen = new Map<string, { name: string; identity: string; rank: number }>();
  for (const { view } of nodes) {
    for (const [rank, engine] of view.engines.entries()) {
      const known = seen.get(engine.identity);
      seen.set(engine.identity, { ...engine, rank: Math.min(rank, known?.rank ?? rank) });
    }
  }
  return [...seen.values()]
    .sort((a, b) => a.rank - b.rank || (a.identity < b.identity ? -1 : 1))
    .map(({ name, identity }) => ({ name, identity }));
}

function gpuMemoryEach(units: Units): number {
  const gpus = units[gpuIndex]!;
  return gpus > 0 ? units[gpuMemoryIndex]! / gpus : 0;
}

/** Whether the node's kind is what is asked for, whatever room it has. */
export function isMeant(node: RoomNode, { units, engine, selector }: Ask): boolean {
  if (gpuMemoryEach(units) > node.gpuMemoryEach) return false;
  if (engine !== undefined && !node.view.engines.some(({ identity }) => identity === engine))
    return false;
  if (selector === undefined) return true;
  const labels = node.view.labels ?? {};
  return Object.entries(selector).every(([key, value]) => labels[key] === value);
}
