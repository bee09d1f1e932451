/** The kinds that we read and write, and what we read of them. */
import type { KubeObject, Resource } from "./port.ts";

export type Quantities = Readonly<Record<string, string>>;

export interface Taint {
  readonly key: string;
  readonly value?: string;
  readonly effect: string;
}

export interface Toleration {
  readonly key?: string;
  readonly operator?: string;
  readonly value?: string;
  readonly effect?: string;
}

export interface NodeObject extends KubeObject {
  readonly spec?: { readonly unschedulable?: boolean; readonly taints?: readonly Taint[] };
  readonly status?: {
    readonly allocatable?: Quantities;
    readonly conditions?: readonly { readonly type: string; readonly status: string }[];
  };
}

export interface ContainerSpec {
  readonly resources?: { readonly requests?: Quantities; readonly limits?: Quantities };
  readonly restartPolicy?: string;
}

export interface PodObject extends KubeObject {
  readonly spec: {
    readonly nodeName?: string;
    readonly containers: readonly ContainerSpec[];
    readonly initContainers?: readonly ContainerSpec[];
    readonly overhead?: Quantities;
    readonly schedulingGates?: readonly { readonly name: string }[];
  };
  readonly status?: {
    readonly phase?: string;
    readonly reason?: string;
    readonly message?: string;
    readonly podIP?: string;
    readonly conditions?: readonly {
      readonly type: string;
      readonly status: string;
      readonly reason?: string;
      readonly message?: string;
    }[];
    readonly containerStatuses?: readonly {
      readonly name: string;
      readonly state?: {
        readonly waiting?: { readonly reason?: string; readonly message?: string };
        readonly terminated?: Terminated;
      };
    }[];
  };
}

export interface Terminated {
  readonly exitCode: number;
  readonly signal?: number;
  readonly reason?: string;
  readonly message?: string;
}

export interface PodTemplateObject extends KubeObject {
  readonly template: {
    readonly metadata?: { readonly labels?: Readonly<Record<string, string>> };
    // biome-ignore lint/suspicious/noExplicitAny: a Pod's spec as its author wrote it
    readonly spec: any;
  };
}

export interface Condition {
  readonly type: string;
  readonly status: "True" | "False" | "Unknown";
  readonly reason: string;
  readonly message: string;
  readonly observedGeneration?: number;
  readonly lastTransitionTime: string;
}

export interface TrainingJobObject extends KubeObject {
  readonly spec: Readonly<Record<string, unknown>> & {
    readonly suspend?: boolean;
    readonly replicas?: number;
  };
  readonly status?: {
    readonly jobId?: string;
    readonly phase?: string;
    readonly observedGeneration?: number;
    readonly conditions?: readonly Condition[];
  };
}

const core = { apiVersion: "v1", isNamespaced: true } as const;

export const nodes: Resource<NodeObject> = {
  ...{ ...core, isNamespaced: false },
  ...{ kind: "Node", plural: "nodes" },
};
export const pods: Resource<PodObject> = { ...core, kind: "Pod", plural: "pods" };
export const podTemplates: Resource<PodTemplateObject> = {
  ...core,
  ...{ kind: "PodTemplate", plural: "podtemplates" },
};
export const secrets: Resource<KubeObject> = { ...core, kind: "Secret", plural: "secrets" };
export const events: Resource<KubeObject> = {
  ...{ apiVersion: "events.k8s.io/v1", isNamespaced: true },
  ...{ kind: "Event", plural: "events" },
};
export const trainingJobGroup = "coxswain.dev";
/** Holds a TrainingJob until its job has ended. */
export const trainingJobFinalizer = "coxswain.dev/job";
export const trainingJobs: Resource<TrainingJobObject> = {
  ...{ apiVersion: `${trainingJobGroup}/v1`, isNamespaced: true },
  ...{ kind: "TrainingJob", plural: "trainingjobs" },
};
export const storageClasses: Resource<KubeObject & { readonly provisioner: string }> = {
  ...{ apiVersion: "storage.k8s.io/v1", isNamespaced: false },
  ...{ kind: "StorageClass", plural: "storageclasses" },
};
