/** Machines that kwok plays, and workers that only seem to train there. */
import { readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseAllDocuments } from "yaml";

const root = resolve(import.meta.dirname, "../..");
const taint = { key: "fake", effect: "NoSchedule" };

/** Pods without a toleration of `fake` stay away; `world` keeps those of one test to its own. */
export function playedNode(
  name: string,
  world: string,
  more: { readonly spec?: object; readonly allocatable?: object } = {},
) {
  const resources = { cpu: "4", memory: "16Gi", pods: "110", "nvidia.com/gpu": "8" };
  const allocatable = { ...resources, ...more.allocatable };
  return {
    ...{ apiVersion: "v1", kind: "Node" },
    metadata: {
      name,
      annotations: { "kwok.x-k8s.io/node": "fake" },
      labels: { "kubernetes.io/hostname": name, world },
    },
    spec: { taints: [taint], ...more.spec },
    status: { allocatable, capacity: allocatable },
  };
}

/** The base's own PodTemplate, for the machines of one world; its Pods end fast and mount nothing. */
export async function playedTemplate(namespace: string): Promise<object> {
  const text = await readFile(join(root, "k8s/base/worker.yaml"), "utf8");
  const found = parseAllDocuments(text).map((document) => document.toJS());
  const template = found.find(({ kind }) => kind === "PodTemplate");
  const { spec } = template.template;
  spec.tolerations.push({ key: taint.key, operator: "Exists" });
  // The cluster may have other nodes, and a real one.
  spec.nodeSelector = { world: namespace };
  Object.assign(spec, {
    terminationGracePeriodSeconds: 1,
    serviceAccountName: "default",
    volumes: [],
  });
  spec.containers[0].volumeMounts = [];
  return { ...template, metadata: { name: "worker", namespace } };
}
