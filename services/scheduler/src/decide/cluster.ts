/** What the scheduler knows of a Kubernetes cluster: small, plain, and kept of each object. */
import type { Vector } from "@coxswain/scheduling";

/** A machine, as its Node object tells. */
export interface ClusterNode {
  readonly name: string;
  /** Its name as an id of ours: one label, at most 63 characters. */
  readonly nodeId: string;
  readonly allocatable: Vector;
  readonly labels: Readonly<Record<string, string>>;
  /** `unknown`: the machine has been silent for longer than the cluster waits for it. */
  readonly ready: "ready" | "not-ready" | "unknown";
  /** Cordoned, tainted, or not selected: no worker of ours may come. */
  readonly isClosed: boolean;
  /** It will be taken away soon: a termination notice, a drain by an autoscaler. */
  readonly isLeaving: boolean;
}

export interface ClusterPod {
  readonly namespace: string;
  readonly name: string;
  readonly uid: string;
  readonly nodeName: string | undefined;
  readonly requests: Vector;
  readonly state: PodState;
  /** Told to end; it may take its grace period, or for ever on a lost machine. */
  readonly isEnding: boolean;
  readonly createdAtMs: number;
  /** Which worker it is, when it is one. */
  readonly worker: { readonly jobId: string; readonly workerId: string } | undefined;
}

export type PodState =
  | { readonly kind: "waiting"; readonly reason: string; readonly message: string }
  /** Another controller, such as Kueue, has not admitted it yet. */
  | { readonly kind: "gated" }
  | { readonly kind: "running" }
  | {
      readonly kind: "ended";
      readonly exitCode: number;
      readonly reason: string;
      readonly message: string;
    };

/** The object that a job's Pods belong to. */
export interface Owner {
  readonly name: string;
  readonly uid: string;
  readonly labels: Readonly<Record<string, string>>;
}

export const labels = {
  component: "app.kubernetes.io/component",
  job: "coxswain.dev/job",
  worker: "coxswain.dev/worker",
} as const;
