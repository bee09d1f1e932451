/** The cluster as the scheduler sees it: nodes, Pods, TrainingJobs and the workers' template, followed. */
import type { Bus, NodeRecord } from "@coxswain/bus";
import type { Job } from "@coxswain/domain";
import {
  type Follower,
  type Kube,
  nodes as nodeResource,
  pods as podResource,
  podTemplates,
  trainingJobs,
} from "@coxswain/kube";
import type { ClusterNode, ClusterPod, Owner } from "../decide/cluster.ts";
import { decideNodes } from "../decide/decide-nodes.ts";
import type { Template } from "../decide/pod-of.ts";
import type { Nodes } from "./nodes.ts";
import { type Admission, readNode, readPod } from "./read-cluster.ts";

export interface ClusterView extends Nodes {
  /** Everything was listed once. */
  readonly isSynced: boolean;
  readonly synced: Promise<unknown>;
  nodes(): readonly ClusterNode[];
  /** Pods of workers; others count only as what they hold. */
  workerPods(): readonly ClusterPod[];
  /** By job id. */
  owners(): ReadonlyMap<string, Owner>;
  template(): Template | undefined;
  /** Workers that were members and are so no more, since when this process has seen it. */
  shutOutAtMs(jobs: ReadonlyMap<string, Job>, nowMs: number): ReadonlyMap<string, number>;
  /** Members that the log names, as it is read. */
  noteMembers(workerIds: readonly string[]): void;
}

export interface ClusterOptions {
  readonly namespace: string;
  readonly templateName: string;
  readonly engine: { readonly name: string; readonly identity: string };
  readonly signal: AbortSignal;
  readonly onChange: () => void;
}

export function followCluster(kube: Kube, options: ClusterOptions): ClusterView {
  const { namespace, templateName, engine, signal, onChange } = options;
  const template = kube.follow(podTemplates, { namespace, signal, onChange, keep: (one) => one });
  const workerTemplate = () => {
    const found = template.objects.get(`${namespace}/${templateName}`)?.template;
    return found && { labels: found.metadata?.labels ?? {}, spec: found.spec };
  };
  const admission = () => (workerTemplate()?.spec ?? {}) as Admission;
  const nodes = kube.follow(nodeResource, { signal, onChange, keep: (one) => one });
  const pods = kube.follow(podResource, {
    ...{ signal, keep: readPod },
    // Others' Pods are many and change no worker: the next cycle counts them.
    onChange: () => undefined,
  });
  const own = kube.follow(podResource, {
    ...{ namespace, signal, onChange, keep: readPod },
    labelSelector: "coxswain.dev/worker",
  });
  const jobs = kube.follow(trainingJobs, {
    ...{ namespace, signal, onChange },
    keep: ({ metadata: { name, uid = "", labels = {} }, status }) => ({
      ...{ name, uid, labels },
      jobId: status?.jobId,
    }),
  });
  const all = [template, nodes, pods, own, jobs];
  const readNodes = untilChanged([nodes, template], () => {
    const admitted = admission();
    return [...nodes.objects.values()].map((one) => readNode(one, admitted));
  });
  const view = untilChanged([nodes, template, pods], () =>
    decideNodes({ nodes: readNodes(), pods: [...pods.objects.values()], engine }),
  );
  return {
    get isSynced() {
      return all.every(({ isSynced }) => isSynced);
    },
    synced: Promise.all(all.map(({ synced }) => synced)),
    nodes: readNodes,
    workerPods: () => [...own.objects.values()],
    owners: () =>
      new Map(
        [...jobs.objects.values()].flatMap(({ jobId, ...owner }) =>
          jobId === undefined ? [] : [[jobId, owner] as const],
        ),
      ),
    template: workerTemplate,
    view,
    ...buildShutOut(),
  };
}

/** The very same answer for as long as nothing has been heard of what it is made of. */
function untilChanged<Answer>(
  sources: readonly Pick<Follower<unknown>, "counts">[],
  ask: () => Answer,
): () => Answer {
  let known: { readonly heard: string; readonly answer: Answer } | undefined;
  return () => {
    const heard = sources.map(({ counts }) => `${counts.lists} ${counts.events}`).join();
    if (known?.heard !== heard) known = { heard, answer: ask() };
    return known.answer;
  };
}

/** Who has been a member, and since when a placed worker is one no more. */
function buildShutOut(): Pick<ClusterView, "shutOutAtMs" | "noteMembers"> {
  const members = new Set<string>();
  const since = new Map<string, number>();
  return {
    noteMembers: (workerIds) => {
      for (const workerId of workerIds) members.add(workerId);
    },
    shutOutAtMs: (jobs, nowMs) => {
      const out = new Set(
        [...jobs.values()].flatMap(({ placement, members: present }) =>
          placement
            .map(({ workerId }) => workerId)
            .filter((id) => members.has(id) && !present.some(({ workerId }) => workerId === id)),
        ),
      );
      for (const workerId of since.keys()) if (!out.has(workerId)) since.delete(workerId);
      for (const workerId of out) if (!since.has(workerId)) since.set(workerId, nowMs);
      return since;
    },
  };
}

/** Keeps the bucket `nodes` as agents would, so that the API lists the cluster's nodes. */
export async function publishNodes(
  bus: Bus,
  nodes: readonly ClusterNode[],
  engine: { readonly name: string; readonly identity: string },
  written: Map<string, string>,
): Promise<void> {
  const bucket = bus.bucket("nodes");
  if (written.size === 0) for (const { key } of await bucket.entries()) written.set(key, "");
  for (const { nodeId, name, allocatable, labels } of nodes) {
    const facts = { nodeId, host: name, capacity: allocatable, labels, engines: [engine] };
    const text = JSON.stringify(facts);
    if (written.get(nodeId) === text) continue;
    const record: NodeRecord = { ...facts, startedAtMs: 0, agentVersion: "kubernetes" };
    await bucket.put(nodeId, record);
    written.set(nodeId, text);
  }
  const present = new Set(nodes.map(({ nodeId }) => nodeId));
  for (const nodeId of [...written.keys()].filter((id) => !present.has(id))) {
    await bucket.delete(nodeId);
    written.delete(nodeId);
  }
}
