/**
 * The controller of TrainingJob objects: brings objects and jobs together, one cycle after the
 * other, while it holds the lease. An event only says "look again".
 */
import { setTimeout as delay } from "node:timers/promises";
import { AppError, isEnded, type Job } from "@coxswain/domain";
import {
  type Condition,
  trainingJobFinalizer as finalizer,
  type Kube,
  type TrainingJobObject,
  trainingJobs,
} from "@coxswain/kube";
import {
  decideTrainingJob,
  type JobObject,
  type ObjectAction,
} from "../decide/decide-training-job.ts";
import { statusOf, unsubmittedStatus } from "../decide/training-job-status.ts";
import { resize } from "../routes/jobs.ts";
import { submitJob } from "../routes/submit.ts";
import type { Api } from "../service.ts";

export interface TrainingJobsPorts {
  readonly api: Api;
  readonly kube: Kube;
  readonly namespace: string;
  readonly signal: AbortSignal;
  readonly now: () => number;
  readonly log: (sentence: string, fields: object) => void;
}

const manager = "coxswain-job-api";
const jobAnnotation = "coxswain.dev/job-id";
const leaseTtlMs = 5000;
const cycleMs = 1000;
/** Between two cycles, however many events come. */
const pauseMs = 200;
/** A status that tells progress only is not written more often. */
const progressMs = 2000;

interface Known {
  readonly object: TrainingJobObject;
  readonly jobId: string | undefined;
}

/** What this holder of the lease has done, where the objects do not show it yet. */
interface Memory {
  readonly jobIds: Map<string, string>;
  /** By uid: the generation that was heard, or that we made ourselves. */
  readonly heard: Map<string, number>;
  readonly refused: Map<string, string>;
  readonly written: Map<string, { readonly text: string; readonly phase: string; atMs: number }>;
}

export async function runTrainingJobs(ports: TrainingJobsPorts): Promise<void> {
  const { api, kube, namespace, signal, log } = ports;
  let wake = Promise.withResolvers<void>();
  const lookAgain = () => wake.resolve();
  const objects = kube.follow(trainingJobs, {
    ...{ namespace, signal, keep: (object) => object },
    onChange: lookAgain,
  });
  while (!signal.aborted) {
    const lease = await api.bus
      .acquireLease("training-jobs", { ttlMs: leaseTtlMs, signal })
      .catch(() => undefined);
    if (lease === undefined) break;
    log("lease acquired", { role: "training-jobs", epoch: lease.epoch });
    const memory: Memory = {
      ...{ jobIds: new Map(), heard: new Map(), refused: new Map(), written: new Map() },
    };
    while (!signal.aborted && !lease.lost.aborted) {
      wake = Promise.withResolvers();
      if (objects.isSynced) await cycle(ports, [...objects.objects.values()], memory);
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
      const rest = delay(cycleMs, undefined, { signal, ref: false }).catch(() => undefined);
      await Promise.race([wake.promise, rest]);
    }
    await lease.release();
  }
  await objects.done;
}

/** One look at every object and every job. What fails is tried again in the next one. */
export async function cycle(
  ports: TrainingJobsPorts,
  objects: readonly TrainingJobObject[],
  memory: Memory,
): Promise<void> {
  const { api, log } = ports;
  const taken = new Set<string>();
  let isWhole = true;
  for (const object of objects) {
    try {
      const jobId = await bringTogether(ports, object, memory);
      if (jobId !== undefined) taken.add(jobId);
    } catch (error) {
      if (!(error instanceof AppError)) throw error;
      isWhole = false;
      log("a TrainingJob waits", { name: object.metadata.name, message: error.message });
    }
  }
  // An object that could not be looked at may be a job's that seems to have none.
  if (!isWhole) return;
  const lonely = [...api.view.jobs.values()].filter((job) => !isEnded(job) && !taken.has(job.id));
  for (const job of lonely) await makeObject(ports, job);
}

async function bringTogether(
  ports: TrainingJobsPorts,
  object: TrainingJobObject,
  memory: Memory,
): Promise<string | undefined> {
  const { uid = "" } = object.metadata;
  const known = () => ({ object, jobId: jobIdOf(object, memory) });
  const jobOf = ({ jobId }: Known) =>
    jobId === undefined ? undefined : ports.api.view.jobs.get(jobId);
  const actions = decideTrainingJob(readObject(known(), memory), jobOf(known()));
  for (const action of actions) await act(ports, action, known(), memory);
  const isHeld = object.metadata.finalizers?.includes(finalizer) === true;
  const isOurs = isHeld && !actions.some(({ kind }) => kind === "let-go" || kind === "mirror");
  if (isOurs) await showStatus(ports, object, jobOf(known()), memory);
  if (isOurs && !actions.some(({ kind }) => kind === "hold"))
    memory.heard.set(uid, object.metadata.generation ?? 0);
  return known().jobId;
}

function jobIdOf({ metadata, status }: TrainingJobObject, { jobIds }: Memory): string | undefined {
  return jobIds.get(metadata.uid ?? "") ?? status?.jobId ?? metadata.annotations?.[jobAnnotation];
}

function readObject({ object, jobId }: Known, { heard, refused }: Memory): JobObject {
  const { metadata, spec, status } = object;
  const { uid = "", generation = 0 } = metadata;
  return {
    ...{ name: metadata.name, uid, generation, jobId },
    observedGeneration: heard.get(uid) ?? status?.observedGeneration,
    isRefused: refused.has(uid),
    isDeleted: metadata.deletionTimestamp !== undefined,
    hasFinalizer: metadata.finalizers?.includes(finalizer) === true,
    isSuspended: spec.suspend === true,
    replicas: spec.replicas,
  };
}

async function act(
  ports: TrainingJobsPorts,
  action: ObjectAction,
  { object, jobId }: Known,
  memory: Memory,
): Promise<void> {
  const { api, log } = ports;
  const { name, uid = "" } = object.metadata;
  log("a TrainingJob is heard", { name, jobId, action: action.kind });
  switch (action.kind) {
    case "submit":
      return submit(ports, object, memory);
    case "cancel":
      return void (await api.request(jobId!, () => ({
        name: "job.cancel-requested",
        payload: {},
      })));
    case "suspend":
      return void (await api.request(jobId!, () => ({
        name: "job.suspend-requested",
        payload: {},
      })));
    case "resume":
      return void (await api.request(jobId!, () => ({
        name: "job.resume-requested",
        payload: {},
      })));
    case "resize":
      return void (await api.request(jobId!, (job) => resize(job, { workers: action.workers })));
    case "mirror": {
      const { suspend, replicas } = action;
      const spec = { suspend, ...(object.spec.replicas === undefined ? {} : { replicas }) };
      const changed = await patch(ports, object, { spec });
      memory.heard.set(uid, changed.metadata.generation ?? 0);
      return;
    }
    case "hold":
    case "let-go": {
      const others = (object.metadata.finalizers ?? []).filter((one) => one !== finalizer);
      const finalizers = action.kind === "hold" ? [...others, finalizer] : others;
      return void (await patch(ports, object, { metadata: { finalizers } }));
    }
  }
}

/** By the version that was looked at: whoever changed it since is looked at first. */
function patch(
  { kube, namespace }: TrainingJobsPorts,
  { metadata }: TrainingJobObject,
  change: { readonly metadata?: object; readonly spec?: object },
): Promise<TrainingJobObject> {
  const { name, resourceVersion } = metadata;
  const body = { ...change, metadata: { resourceVersion, ...change.metadata } };
  return kube.merge(trainingJobs, { namespace, name }, body);
}

/** The object's uid is the key: however often it is sent, it is one job. */
async function submit(
  { api }: TrainingJobsPorts,
  { metadata, spec: { suspend: _, replicas, ...spec } }: TrainingJobObject,
  { jobIds, refused }: Memory,
): Promise<void> {
  const { name, uid = "" } = metadata;
  const document = { apiVersion: "coxswain.dev/v1", kind: "TrainingJob", metadata: { name }, spec };
  try {
    const { id } = await submitJob(api, document, `training-job/${uid}`);
    jobIds.set(uid, id);
    refused.delete(uid);
    if (replicas !== undefined) await api.request(id, (job) => resize(job, { workers: replicas }));
  } catch (error) {
    if (!(error instanceof AppError) || error.retryable) throw error;
    const { violations = [] } = error.details as {
      violations?: { detail: string; pointer: string }[];
    };
    const details = violations.map(({ pointer, detail }) => `${pointer}: ${detail}`);
    refused.set(uid, [error.message, ...details].join(" "));
  }
}

async function showStatus(
  { kube, namespace, now }: TrainingJobsPorts,
  object: TrainingJobObject,
  job: Job | undefined,
  { refused, written }: Memory,
): Promise<void> {
  const { name, uid = "", generation = 0 } = object.metadata;
  const refusal = refused.get(uid);
  const before = (object.status?.conditions ?? []) as readonly Condition[];
  if (job === undefined && refusal === undefined && object.spec.suspend !== true) return;
  const status =
    job === undefined
      ? unsubmittedStatus(refusal, generation, before, new Date(now()).toISOString())
      : statusOf(job, generation, before);
  const text = JSON.stringify(status);
  const last = written.get(uid);
  if (last?.text === text) return;
  if (last?.phase === status.phase && now() - last.atMs < progressMs) return;
  const { apiVersion, kind } = trainingJobs;
  const body = { apiVersion, kind, metadata: { name, namespace }, status };
  await kube.apply(trainingJobs, body, { manager, subresource: "status", force: true });
  written.set(uid, { text, phase: status.phase, atMs: now() });
}

/** A job that came by HTTP gets its object: named by its id, held by our finalizer. */
async function makeObject({ kube, namespace, log }: TrainingJobsPorts, job: Job): Promise<void> {
  const { apiVersion, kind } = trainingJobs;
  const metadata = {
    ...{ name: job.id, namespace, finalizers: [finalizer] },
    annotations: { [jobAnnotation]: job.id },
    labels: job.labels,
  };
  await kube
    .create(trainingJobs, { apiVersion, kind, metadata, spec: { ...job.spec, suspend: false } })
    .catch((error: unknown) => {
      if (!(error instanceof AppError)) throw error;
      if (error.code !== "conflict")
        log("a job has no TrainingJob yet", { message: error.message });
    });
}
