/**
 * The TrainingJob of PaddlePaddle EDL (`paddlepaddle.org/v1`) as one of ours, with a word on each of
 * its fields: what it became, or why it has no meaning here. Defaults and the rule that a job which
 * is not fault tolerant has a fixed number of trainers are the original's.
 */
import { AppError } from "@coxswain/domain";
import { parseQuantity } from "@coxswain/kube/quantity";

export interface Conversion {
  readonly job: object;
  readonly mapped: readonly Mapping[];
  readonly dropped: readonly Mapping[];
}

export interface Mapping {
  /** As in the original: `spec.trainer.min-instance`. */
  readonly field: string;
  /** Where it went, or why nowhere. */
  readonly word: string;
}

type Fields = Readonly<Record<string, unknown>>;

const mebibyte = 1024 * 1024;
const shardsMin = 8;
const nameCharsMax = 48;

/** Fields without a meaning here, and why. */
const meaningless: Readonly<Record<string, string>> = {
  "spec.image": "programs are bundles; the worker's image is the platform's",
  "spec.port": "workers listen where they find a port and tell each other",
  "spec.ports_num": "workers listen where they find a port and tell each other",
  "spec.ports_num_for_sparse": "there are no parameter servers",
  "spec.host_network": "workers reach each other by their Pods' addresses",
  "spec.volumes": "volumes are the cluster's matter: PodTemplate `worker`",
  "spec.volumeMounts": "volumes are the cluster's matter: PodTemplate `worker`",
  "spec.mountPath": "volumes are the cluster's matter: PodTemplate `worker`",
  "spec.nfsmount": "volumes are the cluster's matter: PodTemplate `worker`",
  "spec.pserver": "there are no parameter servers: workers reduce gradients among themselves",
  "spec.master": "there is no master: the order of the data is computed",
  "spec.trainer.etcd-endpoint": "workers meet on the platform's log",
  "spec.trainer.workspace": "a program is one bundle, wherever it lies",
  "spec.trainer.replicaSpec": "the worker's Pod is made of PodTemplate `worker`",
  "spec.trainer.entrypoint": "the program is an ES module; name it in spec.program",
  status: "a job's status is folded from its log",
};

/** @throws AppError `invalid-spec` when it is no such job, or breaks one of the original's rules */
export function convertEdlJob(
  document: unknown,
  options: { readonly program: string },
): Conversion {
  const { apiVersion, kind, metadata, spec } = fieldsOf(document);
  if (apiVersion !== "paddlepaddle.org/v1" || kind !== "TrainingJob")
    throw new AppError("invalid-spec", "this is no TrainingJob of paddlepaddle.org/v1");
  const mapped: Mapping[] = [];
  const map = (field: string, word: string) => void mapped.push({ field, word });
  const given = fieldsOf(spec);
  const trainer = fieldsOf(given["trainer"]);
  const workers = workersOf(trainer, given["fault_tolerant"] === true);
  map("spec.trainer.min-instance", "spec.workers.min");
  map("spec.trainer.max-instance", "spec.workers.max");
  if ("fault_tolerant" in given) map("spec.fault_tolerant", "every job is; it judged min and max");
  const epochs = countOf(given["passes"] ?? 1, "spec.passes");
  map("spec.passes", "spec.epochs");
  if (trainer["resources"] !== undefined) map("spec.trainer.resources", "spec.resources");
  const shards = shardsFor(workers.max);
  const job = {
    apiVersion: "coxswain.dev/v1",
    kind: "TrainingJob",
    metadata: metadataOf(fieldsOf(metadata), map),
    spec: {
      program: options.program,
      epochs,
      batchSize: Math.max(64, shards),
      workers,
      ...resourcesOf(fieldsOf(trainer["resources"])),
    },
  };
  return { job, mapped, dropped: droppedOf(fieldsOf(document)) };
}

function fieldsOf(value: unknown): Fields {
  return typeof value === "object" && value !== null && !Array.isArray(value)
    ? (value as Fields)
    : {};
}

function countOf(value: unknown, field: string): number {
  if (Number.isInteger(value) && Number(value) > 0) return Number(value);
  throw new AppError("invalid-spec", `${field} is no positive number`);
}

function workersOf(trainer: Fields, isFaultTolerant: boolean) {
  const min = countOf(trainer["min-instance"], "spec.trainer.min-instance");
  const max = countOf(trainer["max-instance"] ?? min, "spec.trainer.max-instance");
  if (min > max)
    throw new AppError("invalid-spec", "spec.trainer.max-instance is less than min-instance");
  if (!isFaultTolerant && min !== max)
    throw new AppError(
      "invalid-spec",
      "max-instance equals min-instance unless fault_tolerant is true: the original's rule",
    );
  return { min, max };
}

function shardsFor(workersMax: number): number {
  let shards = shardsMin;
  while (shards < workersMax) shards *= 2;
  return shards;
}

function metadataOf(metadata: Fields, map: (field: string, word: string) => void): object {
  const name = String(metadata["name"] ?? "job")
    .toLowerCase()
    .replaceAll(/[^a-z0-9-]+/g, "-")
    .slice(0, nameCharsMax)
    .replaceAll(/^-+|-+$/g, "");
  map("metadata.name", "metadata.name");
  return { name };
}

/** Limits where there are some, since a worker's memory is a limit here; requests else. */
function resourcesOf(resources: Fields): object {
  const { limits, requests } = { limits: {}, requests: {}, ...resources };
  const all = { ...fieldsOf(requests), ...fieldsOf(limits) };
  const amount = (name: string) =>
    all[name] === undefined ? undefined : parseQuantity(String(all[name]));
  const memory = amount("memory");
  const found = {
    cpu: amount("cpu"),
    memory: memory === undefined ? undefined : Math.max(64, Math.round(memory / mebibyte)),
    gpu: amount("nvidia.com/gpu") ?? amount("alpha.kubernetes.io/nvidia-gpu"),
  };
  const present = Object.entries(found).filter(([, value]) => value !== undefined);
  return present.length === 0 ? {} : { resources: Object.fromEntries(present) };
}

const understood = new Set([
  ...["apiVersion", "kind", "metadata.name", "spec.passes", "spec.fault_tolerant"],
  ...["spec.trainer.min-instance", "spec.trainer.max-instance", "spec.trainer.resources"],
]);
/** These are looked into; every other field is one thing. */
const opened = ["metadata", "spec", "spec.trainer"];

function droppedOf(document: Fields, prefix = ""): readonly Mapping[] {
  return Object.entries(document).flatMap(([name, value]) => {
    const field = `${prefix}${name}`;
    if (opened.includes(field)) return droppedOf(fieldsOf(value), `${field}.`);
    if (understood.has(field)) return [];
    return [{ field, word: meaningless[field] ?? "unknown here" }];
  });
}
