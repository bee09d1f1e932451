import { nodeChoices } from "@coxswain/scheduling";
import { type Static, Type } from "@coxswain/schema";
import { commonConfig } from "@coxswain/service";

export const ConfigSchema = Type.Object({
  ...commonConfig,
  CYCLE_INTERVAL_MS: Type.Integer({
    default: 1000,
    minimum: 10,
    description: "Between two looks when nothing happens",
  }),
  LEASE_TTL_MS: Type.Integer({
    default: 5000,
    minimum: 500,
    description: "Without renewal another scheduler takes over",
  }),
  FREEZE_MS: Type.Integer({
    default: 10_000,
    minimum: 0,
    description:
      "A job that gave workers away does not grow, and none move for fairness, for so long",
  }),
  NODE_CHOICE: Type.Enum([...nodeChoices], {
    default: "fgd",
    description: "Where a worker goes among nodes with room: fgd, best-fit or first-fit",
  }),
  NODE_TIMEOUT_MS: Type.Integer({
    default: 10_000,
    minimum: 500,
    description: "A node that is silent for longer is lost",
  }),
  LAUNCHER: Type.Union([Type.Literal("agents"), Type.Literal("kubernetes")], {
    default: "agents",
    description: "agents: workers are processes of nodes with an agent; kubernetes: they are Pods",
  }),
  KUBECONFIG: Type.Optional(
    Type.String({ description: "Cluster to use; absent: the one that this process runs in" }),
  ),
  KUBERNETES_NAMESPACE: Type.String({
    default: "coxswain",
    description: "Where workers' Pods are",
  }),
  WORKER_TEMPLATE: Type.String({
    default: "worker",
    description: "PodTemplate that workers' Pods are made of",
  }),
  WORKER_ENGINE: Type.String({
    default: "wasm",
    description: "Identity of the engine in the workers' image; its first word is its name",
  }),
  HEARTBEAT_TIMEOUT_MS: Type.Integer({
    default: 1000,
    minimum: 50,
    description: "Told to workers that are Pods: a peer that is silent for longer is lost",
  }),
});
export type Config = Static<typeof ConfigSchema>;
