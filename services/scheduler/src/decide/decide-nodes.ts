/**
 * Which room a cluster has for workers: each node's allocatable, less what others' Pods hold of it,
 * for they come first. A closed node has room for those that are on it and for nobody else.
 *
 * A machine that the cluster has lost sight of counts as lost, unless it has lost sight of all: then
 * it is the cluster that is blind, and nobody's healthy work is given up for that.
 */
import type { NodeView, Vector } from "@coxswain/scheduling";
import type { ClusterNode, ClusterPod } from "./cluster.ts";

export interface NodesInput {
  readonly nodes: readonly ClusterNode[];
  readonly pods: readonly ClusterPod[];
  readonly engine: { readonly name: string; readonly identity: string };
}

export function decideNodes({ nodes, pods, engine }: NodesInput): NodeView[] {
  const held = heldByNode(pods);
  const isBlind = nodes.every(({ ready }) => ready === "unknown");
  return nodes.map(({ name, nodeId, allocatable, labels, ready, isClosed }) => {
    const { own, foreign } = held.get(name) ?? { own: none, foreign: none };
    const isOpen = !isClosed && ready === "ready";
    return {
      nodeId,
      labels,
      capacity: withOthers(allocatable, isOpen ? less(allocatable, foreign) : own),
      engines: [engine],
      isAlive: ready !== "unknown" || isBlind,
      ...(!isOpen && { isClosed: true as const }),
    };
  });
}

/**
 * What Pods do not ask for is the node's own: disk and network traffic, and the memory of each GPU
 * that is left.
 */
function withOthers(allocatable: Vector, left: Vector): Vector {
  const { gpu, gpuMemoryMib } = allocatable;
  const each = gpuMemoryMib === undefined || gpu === 0 ? 0 : gpuMemoryMib / gpu;
  return { ...allocatable, ...left, ...(each > 0 && { gpuMemoryMib: each * left.gpu }) };
}

interface Held {
  own: Vector;
  foreign: Vector;
}

function heldByNode(pods: readonly ClusterPod[]): ReadonlyMap<string, Held> {
  const held = new Map<string, Held>();
  for (const { nodeName, requests, state, worker } of pods) {
    if (nodeName === undefined || state.kind === "ended") continue;
    const present = held.get(nodeName) ?? { own: none, foreign: none };
    if (worker === undefined) present.foreign = more(present.foreign, requests);
    else present.own = more(present.own, requests);
    held.set(nodeName, present);
  }
  return held;
}

const none: Vector = { cpu: 0, memoryMib: 0, gpu: 0 };
const more = (a: Vector, b: Vector): Vector => ({
  cpu: a.cpu + b.cpu,
  memoryMib: a.memoryMib + b.memoryMib,
  gpu: a.gpu + b.gpu,
});
const less = (a: Vector, b: Vector): Vector => ({
  cpu: Math.max(0, a.cpu - b.cpu),
  memoryMib: Math.max(0, a.memoryMib - b.memoryMib),
  gpu: Math.max(0, a.gpu - b.gpu),
});
