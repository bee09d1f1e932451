/** From Kubernetes' objects to what the scheduler keeps of them. */
import {
  type NodeObject,
  type PodObject,
  parseQuantity,
  type Quantities,
  type Taint,
  type Toleration,
} from "@coxswain/kube";
import type { Vector } from "@coxswain/scheduling";
import { type ClusterNode, type ClusterPod, labels, type PodState } from "../decide/cluster.ts";

const mebibyte = 1024 * 1024;
const gpuResource = "nvidia.com/gpu";
const nameCharsMax = 63;

/** Taints that say: this machine goes soon. Clouds, their handlers, and autoscalers set them. */
const noticeTaints = [
  "aws-node-termination-handler/spot-itn",
  "aws-node-termination-handler/scheduled-maintenance",
  "aws-node-termination-handler/asg-lifecycle-termination",
  "cloud.google.com/impending-node-termination",
  "remediator.kubernetes.azure.com/unschedulable",
  "ToBeDeletedByClusterAutoscaler",
  "karpenter.sh/disrupted",
  "node.cloudprovider.kubernetes.io/shutdown",
  "coxswain.dev/leaving",
];

/** The name where it is an id of ours; else with dashes for dots, and a hash against collisions. */
export function nodeIdOf(name: string): string {
  if (/^[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?$/.test(name)) return name;
  const suffix = hash(name).toString(36);
  const plain = name.toLowerCase().replaceAll(/[^a-z0-9-]/g, "-");
  return `${plain.slice(0, nameCharsMax - suffix.length - 1)}-${suffix}`;
}

/** FNV-1a, 32 bits. */
function hash(text: string): number {
  let value = 0x811c9dc5;
  for (let index = 0; index < text.length; index += 1)
    value = Math.imul(value ^ text.charCodeAt(index), 0x01000193) >>> 0;
  return value;
}

/** Which nodes the workers' PodTemplate lets them on. */
export interface Admission {
  readonly tolerations?: readonly Toleration[];
  readonly nodeSelector?: Readonly<Record<string, string>>;
}

export function readNode(node: NodeObject, admission: Admission): ClusterNode {
  const { metadata, spec = {}, status = {} } = node;
  const { name, labels: nodeLabels = {}, deletionTimestamp } = metadata;
  const { taints = [] } = spec;
  const { tolerations = [], nodeSelector = {} } = admission;
  const isSelected = Object.entries(nodeSelector).every(([key, want]) => nodeLabels[key] === want);
  const isOpen = isSelected && taints.every(isTolerated(tolerations));
  const isLeaving =
    deletionTimestamp !== undefined || taints.some(({ key }) => noticeTaints.includes(key));
  return {
    name,
    nodeId: nodeIdOf(name),
    allocatable: withLabels(vectorOfQuantities(status.allocatable ?? {}), nodeLabels),
    labels: nodeLabels,
    ready: readinessOf(status.conditions ?? []),
    isClosed: spec.unschedulable === true || isLeaving || !isOpen,
    isLeaving,
  };
}

/** What Kubernetes does not count: NVIDIA's feature discovery tells of GPUs, the operator of the rest. */
const labelled = {
  gpuMemory: "nvidia.com/gpu.memory",
  disk: "coxswain.dev/disk-mibps",
  network: "coxswain.dev/network-mibps",
} as const;

function withLabels(given: Vector, nodeLabels: Readonly<Record<string, string>>): Vector {
  const amount = (name: string) => Math.max(0, Number(nodeLabels[name] ?? 0)) || 0;
  const gpuMemoryMib = given.gpu * amount(labelled.gpuMemory);
  const [diskMibps, networkMibps] = [amount(labelled.disk), amount(labelled.network)];
  return {
    ...given,
    ...(gpuMemoryMib > 0 && { gpuMemoryMib }),
    ...(diskMibps > 0 && { diskMibps }),
    ...(networkMibps > 0 && { networkMibps }),
  };
}

function readinessOf(
  conditions: readonly { readonly type: string; readonly status: string }[],
): ClusterNode["ready"] {
  const status = conditions.find(({ type }) => type === "Ready")?.status;
  if (status === "True") return "ready";
  return status === "Unknown" ? "unknown" : "not-ready";
}

function isTolerated(tolerations: readonly Toleration[]): (taint: Taint) => boolean {
  return ({ key, value, effect }) => {
    if (effect === "PreferNoSchedule") return true;
    // What the cluster itself says of a machine that is away is judged by its readiness.
    if (key.startsWith("node.kubernetes.io/")) return true;
    return tolerations.some(
      (one) =>
        (one.effect === undefined || one.effect === "" || one.effect === effect) &&
        (one.key === undefined || one.key === "" || one.key === key) &&
        (one.operator === "Exists" || (one.value ?? "") === (value ?? "")),
    );
  };
}

function vectorOfQuantities(quantities: Quantities): Vector {
  const amount = (name: string) =>
    quantities[name] === undefined ? 0 : parseQuantity(quantities[name]);
  return {
    cpu: amount("cpu"),
    memoryMib: Math.floor(amount("memory") / mebibyte),
    gpu: amount(gpuResource),
  };
}

export function readPod(pod: PodObject): ClusterPod {
  const { metadata, spec } = pod;
  const own = metadata.labels ?? {};
  const [jobId, workerId] = [own[labels.job], own[labels.worker]];
  return {
    namespace: metadata.namespace ?? "",
    name: metadata.name,
    uid: metadata.uid ?? "",
    nodeName: spec.nodeName,
    requests: requestsOf(pod),
    state: stateOf(pod),
    isEnding: metadata.deletionTimestamp !== undefined,
    createdAtMs: Date.parse(metadata.creationTimestamp ?? "") || 0,
    worker: jobId === undefined || workerId === undefined ? undefined : { jobId, workerId },
  };
}

/**
 * What a Pod holds of its node, as the cluster's scheduler counts: the larger of all its containers
 * together and of each that runs before them; what runs beside them (`restartPolicy: Always`) counts
 * with them.
 */
function requestsOf({ spec }: PodObject): Vector {
  const { containers, initContainers = [], overhead = {} } = spec;
  const need = ({ resources = {} }: PodObject["spec"]["containers"][number]) =>
    vectorOfQuantities({ ...resources.limits, ...resources.requests });
  const beside = initContainers.filter(({ restartPolicy }) => restartPolicy === "Always");
  const before = initContainers.filter(({ restartPolicy }) => restartPolicy !== "Always");
  const together = [...containers, ...beside].map(need).reduce(sum, none);
  return sum(before.map(need).reduce(larger, together), vectorOfQuantities(overhead));
}

const none: Vector = { cpu: 0, memoryMib: 0, gpu: 0 };
const sum = (a: Vector, b: Vector): Vector => ({
  cpu: a.cpu + b.cpu,
  memoryMib: a.memoryMib + b.memoryMib,
  gpu: a.gpu + b.gpu,
});
const larger = (a: Vector, b: Vector): Vector => ({
  cpu: Math.max(a.cpu, b.cpu),
  memoryMib: Math.max(a.memoryMib, b.memoryMib),
  gpu: Math.max(a.gpu, b.gpu),
});

const signalBase = 128;

function stateOf({ spec, status = {} }: PodObject): PodState {
  const [container] = status.containerStatuses ?? [];
  const terminated = container?.state?.terminated;
  if (status.phase === "Failed" || status.phase === "Succeeded" || terminated !== undefined) {
    const exitCode = terminated?.exitCode ?? (status.phase === "Succeeded" ? 0 : signalBase);
    const reason = terminated?.reason ?? status.reason ?? "";
    return {
      kind: "ended",
      exitCode,
      reason,
      message: terminated?.message ?? status.message ?? "",
    };
  }
  if ((spec.schedulingGates ?? []).length > 0) return { kind: "gated" };
  if (status.phase === "Running") return { kind: "running" };
  const { reason, message = "" } = container?.state?.waiting ?? unscheduledOf(status) ?? {};
  return { kind: "waiting", reason: reason ?? "Pending", message };
}

function unscheduledOf({ conditions = [] }: NonNullable<PodObject["status"]>) {
  return conditions.find(({ type, status }) => type === "PodScheduled" && status === "False");
}
