/**
 * Nodes in the order of what is free on them, in blocks that know the most that any of theirs has:
 * the fullest node that fits is found without looking at every node. With n nodes, in blocks of at
 * most `blockMax`, a change costs O(blockMax + n / blockMax), and so does a question unless many
 * blocks have each resource on some node and all resources on none.
 */
import { compareText } from "./snapshot.ts";
import { cpuIndex, gpuIndex, isWithin, memoryIndex, type Units } from "./vector.ts";

const blockMax = 64;
/** Nodes that fit, after which no different one is looked for. */
const seenMax = 64;

export interface IndexedNode {
  readonly nodeId: string;
  free: number[];
}

interface Block<Node> {
  nodes: Node[];
  most: number[];
}

/** The least free GPUs first, so that they are kept together; then the least free cores. */
function compareFree(a: IndexedNode, b: IndexedNode): number {
  return (
    a.free[gpuIndex]! - b.free[gpuIndex]! ||
    a.free[cpuIndex]! - b.free[cpuIndex]! ||
    a.free[memoryIndex]! - b.free[memoryIndex]! ||
    compareText(a.nodeId, b.nodeId)
  );
}

export class FreeIndex<Node extends IndexedNode> {
  readonly #blocks: Block<Node>[] = [];

  add(node: Node): void {
    const at = Math.max(0, this.#blockOf(node) - 1);
    const block = this.#blocks[at];
    if (block === undefined) {
      this.#blocks.push({ nodes: [node], most: [...node.free] });
      return;
    }
    block.nodes.splice(placeIn(block.nodes, node), 0, node);
    if (block.nodes.length <= blockMax) {
      block.most = block.most.map((most, index) => Math.max(most, node.free[index]!));
      return;
    }
    const half = block.nodes.splice(blockMax / 2);
    block.most = mostOf(block.nodes);
    this.#blocks.splice(at + 1, 0, { nodes: half, most: mostOf(half) });
  }

  /** The node's numbers must be those with which it was added. */
  remove(node: Node): void {
    const at = Math.max(0, this.#blockOf(node) - 1);
    const block = this.#blocks[at]!;
    const index = placeIn(block.nodes, node) - 1;
    block.nodes.splice(index, 1);
    if (block.nodes.length === 0) this.#blocks.splice(at, 1);
    else block.most = mostOf(block.nodes);
  }

  /** The first node in order on which `need` fits and of which `isMeant` holds. */
  first(need: Units, isMeant: (node: Node) => boolean): Node | undefined {
    for (const block of this.#blocks) {
      if (!isWithin(need, block.most)) continue;
      for (const node of block.nodes) if (isWithin(need, node.free) && isMeant(node)) return node;
    }
    return undefined;
  }

  /** The first such nodes in order, at most `limit`; of neighbours with the same free room the first. */
  firstDifferent(need: Units, isMeant: (node: Node) => boolean, limit: number): Node[] {
    const found: Node[] = [];
    let seen = 0;
    for (const block of this.#blocks) {
      if (!isWithin(need, block.most)) continue;
      for (const node of block.nodes) {
        if (!isWithin(need, node.free)) continue;
        const before = found[found.length - 1];
        const isNew = before === undefined || !isSame(before.free, node.free);
        if (isNew && isMeant(node)) found.push(node);
        seen += 1;
        if (found.length === limit || (seen >= seenMax && found.length > 0)) return found;
      }
    }
    return found;
  }

  /** How many blocks begin at or before the node. */
  #blockOf(node: Node): number {
    let [low, high] = [0, this.#blocks.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (compareFree(this.#blocks[middle]!.nodes[0]!, node) <= 0) low = middle + 1;
      else high = middle;
    }
    return low;
  }
}

function isSame(a: Units, b: Units): boolean {
  for (let index = 0; index < a.length; index += 1) if (a[index] !== b[index]) return false;
  return true;
}

/** The place behind the node, or where it would stand. */
function placeIn(nodes: readonly IndexedNode[], node: IndexedNode): number {
  let [low, high] = [0, nodes.length];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (compareFree(nodes[middle]!, node) <= 0) low = middle + 1;
    else high = middle;
  }
  return low;
}

function mostOf(nodes: readonly IndexedNode[]): number[] {
  const most = [...nodes[0]!.free];
  for (const { free } of nodes)
    for (let index = 0; index < most.length; index += 1)
      if (free[index]! > most[index]!) most[index] = free[index]!;
  return most;
}
