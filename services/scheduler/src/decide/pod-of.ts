/**
 * A worker's Pod: the cluster's matters are in the PodTemplate (image, volumes, security, what is
 * tolerated); the worker's are added here (who it is, where, how much, whose).
 */
import { labels, type Owner } from "./cluster.ts";

export interface WorkerPod {
  readonly jobId: string;
  readonly workerId: string;
  readonly nodeId: string;
  readonly nodeName: string;
  readonly resources: { readonly cpu: number; readonly memoryMib: number; readonly gpu: number };
  readonly environment: Readonly<Record<string, string>>;
}

/** What the launcher needs of a PodTemplate; the rest is passed through. */
export interface Template {
  readonly labels: Readonly<Record<string, string>>;
  readonly spec: Readonly<Record<string, unknown>> & {
    readonly containers: readonly (Readonly<Record<string, unknown>> & {
      readonly env?: readonly object[];
      readonly resources?: {
        readonly requests?: Readonly<Record<string, string>>;
        readonly limits?: Readonly<Record<string, string>>;
      };
    })[];
    readonly affinity?: { readonly nodeAffinity?: Readonly<Record<string, unknown>> };
  };
}

const gpuResource = "nvidia.com/gpu";
/** Labels that tools read of Pods, such as Kueue's queue; a job's own go along. */
const ownLabel = /^[a-z0-9A-Z./_-]{1,253}$/;

export function podName({ jobId, workerId }: Pick<WorkerPod, "jobId" | "workerId">): string {
  return `${jobId}-${workerId}`;
}

export function podOf(
  worker: WorkerPod,
  template: Template,
  namespace: string,
  owner: Owner | undefined,
): object {
  const { jobId, workerId, nodeId } = worker;
  const { affinity = {}, containers, ...spec } = template.spec;
  const [container, ...others] = containers;
  const passed = Object.entries(owner?.labels ?? {}).filter(([name]) => ownLabel.test(name));
  return {
    apiVersion: "v1",
    kind: "Pod",
    metadata: {
      name: podName(worker),
      namespace,
      labels: {
        ...template.labels,
        ...Object.fromEntries(passed),
        [labels.component]: "worker",
        [labels.job]: jobId,
        [labels.worker]: workerId,
      },
      annotations: { "coxswain.dev/node-id": nodeId },
      ...(owner === undefined ? {} : { ownerReferences: [referenceTo(owner)] }),
    },
    spec: {
      ...spec,
      restartPolicy: "Never",
      affinity: { ...affinity, nodeAffinity: onNode(worker.nodeName, affinity.nodeAffinity) },
      containers: [
        {
          ...container,
          env: [...(container?.env ?? []), ...variables(worker.environment)],
          resources: resourcesOf(worker.resources, container?.resources ?? {}),
        },
        ...others,
      ],
    },
  };
}

function referenceTo({ name, uid }: Owner): object {
  const apiVersion = "coxswain.dev/v1";
  return {
    apiVersion,
    kind: "TrainingJob",
    name,
    uid,
    controller: true,
    blockOwnerDeletion: false,
  };
}

/** The cluster's scheduler binds it, so that admission, quotas and gates are its own. */
function onNode(name: string, given: Readonly<Record<string, unknown>> = {}): object {
  const field = { key: "metadata.name", operator: "In", values: [name] };
  return {
    ...given,
    requiredDuringSchedulingIgnoredDuringExecution: {
      nodeSelectorTerms: [{ matchFields: [field] }],
    },
  };
}

const variables = (environment: Readonly<Record<string, string>>) =>
  Object.entries(environment).map(([name, value]) => ({ name, value }));

/** Memory is a limit, for beyond it others would suffer; a core that is idle may be used. */
function resourcesOf(
  { cpu, memoryMib, gpu }: WorkerPod["resources"],
  given: NonNullable<Template["spec"]["containers"][number]["resources"]>,
): object {
  const memory = `${memoryMib}Mi`;
  const gpus = gpu > 0 ? { [gpuResource]: String(gpu) } : {};
  return {
    requests: { ...given.requests, cpu: `${Math.round(cpu * 1000)}m`, memory, ...gpus },
    limits: { ...given.limits, memory, ...gpus },
  };
}
