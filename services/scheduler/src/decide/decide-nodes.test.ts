import { deepEqual } from "node:assert/strict";
import { test } from "node:test";
import type { ClusterNode, ClusterPod } from "./cluster.ts";
import { decideNodes } from "./decide-nodes.ts";

const engine = { name: "wasm", identity: "wasm 1" };
const node = (name: string, more: Partial<ClusterNode> = {}): ClusterNode => ({
  ...{ name, nodeId: name, allocatable: { cpu: 8, memoryMib: 8000, gpu: 4 }, labels: {} },
  ...{ ready: "ready", isClosed: false, isLeaving: false },
  ...more,
});
const pod = (cpu: number, more: Partial<ClusterPod> = {}): ClusterPod => ({
  ...{ namespace: "web", name: "p", uid: "u", nodeName: "a", isEnding: false, createdAtMs: 0 },
  ...{ requests: { cpu, memoryMib: 100, gpu: 1 }, state: { kind: "running" }, worker: undefined },
  ...more,
});
const worker = { worker: { jobId: "j", workerId: "w" } };
const end = { kind: "ended", exitCode: 0, reason: "", message: "" } as const;

interface Case {
  readonly nodes: readonly ClusterNode[];
  readonly pods?: readonly ClusterPod[];
  /** Cores and GPUs of each node, whether it is closed, `x` when it is lost. */
  readonly want: readonly string[];
}

const cases: Record<string, Case> = {
  "an empty node is all room": { nodes: [node("a")], want: ["a 8 4"] },
  "others' Pods come first": { nodes: [node("a")], pods: [pod(3), pod(2)], want: ["a 3 2"] },
  "our own count where they are placed": {
    nodes: [node("a")],
    pods: [pod(3, worker)],
    want: ["a 8 4"],
  },
  "ended Pods and those of other nodes hold nothing": {
    nodes: [node("a")],
    pods: [pod(3, { state: end }), pod(3, { nodeName: "b" }), pod(3, { nodeName: undefined })],
    want: ["a 8 4"],
  },
  "more than there is leaves nothing, not less": {
    nodes: [node("a")],
    pods: [pod(20)],
    want: ["a 0 3"],
  },
  "a cordoned node has room for those that are on it alone": {
    nodes: [node("a", { isClosed: true })],
    pods: [pod(3), pod(2, worker)],
    want: ["a 2 1 closed"],
  },
  "one that is not ready takes nobody, and gives up nobody": {
    nodes: [node("a", { ready: "not-ready" })],
    pods: [pod(2, worker)],
    want: ["a 2 1 closed"],
  },
  "one that the cluster has lost sight of is lost": {
    nodes: [node("a", { ready: "unknown" }), node("b")],
    want: ["a 0 0 closed x", "b 8 4"],
  },
  "a cluster that sees none of its nodes is blind, and they are not lost": {
    nodes: [node("a", { ready: "unknown" }), node("b", { ready: "unknown" })],
    want: ["a 0 0 closed", "b 0 0 closed"],
  },
};

test("disk, network and the memory of each GPU are as the node's labels say", () => {
  const allocatable = { cpu: 8, memoryMib: 8000, gpu: 4, gpuMemoryMib: 64_000, diskMibps: 500 };
  const [one] = decideNodes({ nodes: [node("a", { allocatable })], pods: [pod(3)], engine });
  deepEqual(one!.capacity, {
    ...allocatable,
    cpu: 5,
    memoryMib: 7900,
    gpu: 3,
    gpuMemoryMib: 48_000,
  });
});

for (const [name, { nodes, pods = [], want }] of Object.entries(cases))
  test(name, () =>
    deepEqual(
      decideNodes({ nodes, pods, engine }).map(
        ({ nodeId, capacity, isAlive, isClosed = false }) =>
          `${nodeId} ${capacity.cpu} ${capacity.gpu}${isClosed ? " closed" : ""}${isAlive ? "" : " x"}`,
      ),
      want,
    ),
  );
