import { deepEqual, equal, notEqual } from "node:assert/strict";
import { test } from "node:test";
import type { NodeObject, PodObject, Taint } from "@coxswain/kube";
import { nodeIdOf, readNode, readPod } from "./read-cluster.ts";

const meta = { apiVersion: "v1", kind: "Node" } as const;
const nodeOf = (spec: NodeObject["spec"], ready = "True"): NodeObject => ({
  ...{ ...meta, metadata: { name: "n" }, spec: spec ?? {} },
  status: {
    allocatable: { cpu: "3900m", memory: "15Gi", "nvidia.com/gpu": "8", pods: "110" },
    conditions: [{ type: "Ready", status: ready }],
  },
});
const taint = (key: string, effect = "NoSchedule"): Taint => ({ key, effect });
const tolerations = [{ key: "nvidia.com/gpu", operator: "Exists" }];
const read = (spec: NodeObject["spec"], ready?: string) =>
  readNode(nodeOf(spec, ready), { tolerations });

test("what a node can give is its allocatable", () =>
  deepEqual(read({}).allocatable, { cpu: 3.9, memoryMib: 15 * 1024, gpu: 8 }));

test("what its labels say of GPUs, disk and network counts; nonsense does not", () => {
  const labels = {
    "nvidia.com/gpu.memory": "81559",
    "coxswain.dev/disk-mibps": "2000",
    "coxswain.dev/network-mibps": "fast",
  };
  const node = { ...nodeOf({}), metadata: { name: "n", labels } };
  const { gpuMemoryMib, diskMibps, networkMibps } = readNode(node, {}).allocatable;
  deepEqual([gpuMemoryMib, diskMibps, networkMibps], [8 * 81_559, 2000, undefined]);
});

const closed: Record<string, readonly [NodeObject["spec"], isClosed: boolean, isLeaving: boolean]> =
  {
    open: [{}, false, false],
    cordoned: [{ unschedulable: true }, true, false],
    tainted: [{ taints: [taint("team")] }, true, false],
    "tainted, and tolerated": [{ taints: [taint("nvidia.com/gpu")] }, false, false],
    "better not": [{ taints: [taint("team", "PreferNoSchedule")] }, false, false],
    "tainted by the cluster itself": [
      { taints: [taint("node.kubernetes.io/not-ready")] },
      false,
      false,
    ],
    "told that it ends": [{ taints: [taint("aws-node-termination-handler/spot-itn")] }, true, true],
  };
for (const [name, [spec, isClosed, isLeaving]] of Object.entries(closed))
  test(`a node is ${name}`, () => {
    const node = read(spec);
    deepEqual([node.isClosed, node.isLeaving], [isClosed, isLeaving]);
  });

test("a node that the workers' template does not select is closed to them", () => {
  const node = nodeOf({});
  const labelled = { ...node, metadata: { name: "n", labels: { pool: "training" } } };
  const isClosed = (given: NodeObject) =>
    readNode(given, { nodeSelector: { pool: "training" } }).isClosed;
  deepEqual([node, labelled].map(isClosed), [true, false]);
});

test("a node is ready, not ready, or out of sight", () =>
  deepEqual(
    ["True", "False", "Unknown"].map((status) => read({}, status).ready),
    ["ready", "not-ready", "unknown"],
  ));

test("a name that is a label is the id; another gets dashes and a hash, and stays apart", () => {
  equal(nodeIdOf("node-1"), "node-1");
  const ids = ["ip-10-0-0-1.ec2.internal", "ip-10-0-0-1-ec2.internal", `${"long.".repeat(40)}x`];
  for (const id of ids.map(nodeIdOf)) equal(/^[a-z0-9][a-z0-9-]{0,61}[a-z0-9]$/.test(id), true, id);
  notEqual(nodeIdOf(ids[0]!), nodeIdOf(ids[1]!));
});

function podOf(spec: Partial<PodObject["spec"]>, status: PodObject["status"] = {}): PodObject {
  const containers = [{ resources: { requests: { cpu: "1", memory: "100Mi" } } }];
  return {
    ...{ apiVersion: "v1", kind: "Pod", metadata: { name: "p", namespace: "ns", uid: "u" } },
    ...{ spec: { containers, ...spec }, status },
  };
}
const requests = (cpu: string) => ({ resources: { requests: { cpu } } });

test("a Pod holds its containers together, or the largest that runs before them", () => {
  const before = podOf({ initContainers: [requests("3"), requests("2")] });
  deepEqual(readPod(before).requests, { cpu: 3, memoryMib: 100, gpu: 0 });
  const beside = podOf({ initContainers: [{ ...requests("2"), restartPolicy: "Always" }] });
  equal(readPod(beside).requests.cpu, 3);
  const limited = podOf({ containers: [{ resources: { limits: { "nvidia.com/gpu": "2" } } }] });
  equal(readPod(limited).requests.gpu, 2);
});

const terminated = { exitCode: 137, reason: "OOMKilled" };
const states: Record<string, readonly [PodObject["status"], spec: object, string]> = {
  "gates hold it": [{ phase: "Pending" }, { schedulingGates: [{ name: "kueue" }] }, "gated"],
  "it runs": [{ phase: "Running" }, {}, "running"],
  "nobody has a place for it": [
    {
      phase: "Pending",
      conditions: [{ type: "PodScheduled", status: "False", reason: "Unschedulable" }],
    },
    {},
    "waiting Unschedulable",
  ],
  "its container has ended, though the Pod does not say so yet": [
    { phase: "Running", containerStatuses: [{ name: "worker", state: { terminated } }] },
    {},
    "ended 137 OOMKilled",
  ],
  "it was evicted before it had a container": [
    { phase: "Failed", reason: "Evicted" },
    {},
    "ended 128 Evicted",
  ],
};
for (const [name, [status, spec, want]] of Object.entries(states))
  test(`a Pod: ${name}`, () => {
    const { state } = readPod(podOf(spec, status));
    const { kind, reason, exitCode } = { reason: undefined, exitCode: undefined, ...state };
    equal([kind, exitCode, reason].filter((part) => part !== undefined).join(" "), want);
  });
