/** Machines of a Kubernetes cluster: its nodes, and workers that are Pods. */
import type { Bus } from "@coxswain/bus";
import type { Kube } from "@coxswain/kube";
import { followCluster, publishNodes } from "./kubernetes-cluster.ts";
import { buildKubernetesLauncher } from "./kubernetes-launcher.ts";
import type { Machines } from "./launcher.ts";

export interface KubernetesOptions {
  readonly namespace: string;
  /** PodTemplate that workers' Pods are made of. */
  readonly templateName: string;
  /** Of the workers' image: its identity, whose first word is its name. */
  readonly engine: string;
  readonly workerEnvironment: Readonly<Record<string, string>>;
}

export interface KubernetesPorts {
  readonly bus: Bus;
  readonly kube: Kube;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly log: (sentence: string, fields: object) => void;
}

export function openKubernetes(
  ports: KubernetesPorts,
  options: KubernetesOptions,
  onChange: () => void,
): Machines {
  const { bus, kube, signal } = ports;
  const { namespace, templateName, engine: identity } = options;
  const engine = { name: identity.split(" ")[0]!, identity };
  const cluster = followCluster(kube, { namespace, templateName, engine, signal, onChange });
  void noteMembers(bus, signal, cluster.noteMembers);
  const written = new Map<string, string>();
  let published: unknown;
  return {
    nodes: cluster,
    ready: cluster.synced,
    launcher: (epoch) => {
      const { workerEnvironment: environment } = options;
      const launcher = buildKubernetesLauncher(
        { ...ports, cluster, namespace, environment },
        epoch,
      );
      return {
        apply: async (wanted, jobs) => {
          await launcher.apply(wanted, jobs);
          const nodes = cluster.nodes();
          if (!cluster.isSynced || nodes === published) return;
          await publishNodes(bus, nodes, engine, written);
          published = nodes;
        },
      };
    },
  };
}

/** The log names all members there have ever been; a projection keeps the present ones. */
async function noteMembers(
  bus: Bus,
  signal: AbortSignal,
  note: (workerIds: readonly string[]) => void,
): Promise<void> {
  const names = ["training.generation-formed"] as const;
  for await (const item of bus.follow({ names: [...names], signal }))
    if (item.kind === "event" && item.event.name === "training.generation-formed")
      note(item.event.payload.members.map(({ workerId }) => workerId));
}
