/** Brings jobs on a cluster to rest, or to their end, before anything that they need is taken away. */
import { setTimeout as delay } from "node:timers/promises";
import { AppError } from "@coxswain/domain";
import {
  trainingJobFinalizer as finalizer,
  type Kube,
  pods,
  type TrainingJobObject,
  trainingJobs,
} from "@coxswain/kube";
import {
  decideKeeping,
  decideLosing,
  type JobSeen,
  type UninstallSeen,
  type UninstallStep,
} from "../install/decide-uninstall.ts";

export interface UninstallOptions {
  readonly kube: Kube;
  readonly namespace: string;
  readonly keepsJobs: boolean;
  /** Until it is given up, or, where everything shall be lost, until jobs are let go by force. */
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
  readonly say: (sentence: string) => void;
}

const pollMs = 1000;
const giveUpMs = 60_000;

/** @throws AppError `setup-failed` when jobs do not come to rest; nothing has been deleted then */
export async function stopJobs(options: UninstallOptions): Promise<void> {
  const { kube, namespace, keepsJobs, timeoutMs, signal, say } = options;
  const startedMs = performance.now();
  let said = "";
  for (;;) {
    const seen = await look(kube, namespace);
    const waitedMs = performance.now() - startedMs;
    const isLate = waitedMs > timeoutMs;
    const step = keepsJobs ? decideKeeping(seen) : decideLosing(seen, isLate);
    if (step.kind === "go") return;
    const isOver = isLate && (keepsJobs || waitedMs > timeoutMs + giveUpMs);
    if (step.kind === "refuse" || (step.kind === "wait" && isOver))
      throw new AppError("setup-failed", `nothing was uninstalled: ${step.reason}`);
    const sentence = sentenceOf(step);
    if (sentence !== said) say(sentence);
    said = sentence;
    await act(options, step);
    await delay(pollMs, undefined, { signal });
  }
}

const sentenceOf = (step: Exclude<UninstallStep, { kind: "go" }>) =>
  "names" in step ? `${step.kind}: ${step.names.join(", ")}` : `waiting: ${step.reason}`;

async function look(kube: Kube, namespace: string): Promise<UninstallSeen> {
  const count = async (labelSelector: string, isMeant: (phase: string) => boolean) =>
    (await kube.list(pods, { namespace, labelSelector })).filter(({ status }) =>
      isMeant(status?.phase ?? ""),
    ).length;
  const [jobs, workers, controllers] = await Promise.all([
    listJobs(kube, namespace),
    count("coxswain.dev/worker", (phase) => !["Succeeded", "Failed"].includes(phase)),
    count("app.kubernetes.io/component=job-api", (phase) => phase === "Running"),
  ]);
  return { jobs: jobs.map(readJob), workers, controllers };
}

/** None where the kind itself is gone. */
function listJobs(kube: Kube, namespace: string): Promise<TrainingJobObject[]> {
  return kube.list(trainingJobs, { namespace }).catch((error: unknown) => {
    if (error instanceof AppError && error.details["status"] === 404) return [];
    throw error;
  });
}

function readJob({ metadata, spec, status }: TrainingJobObject): JobSeen {
  return {
    name: metadata.name,
    phase: status?.phase,
    isSuspended: spec.suspend === true,
    isDeleted: metadata.deletionTimestamp !== undefined,
    isHeld: metadata.finalizers?.includes(finalizer) === true,
  };
}

async function act({ kube, namespace }: UninstallOptions, step: UninstallStep): Promise<void> {
  if (!("names" in step)) return;
  for (const name of step.names) {
    const place = { namespace, name };
    if (step.kind === "suspend") await kube.merge(trainingJobs, place, { spec: { suspend: true } });
    if (step.kind === "delete") await kube.delete(trainingJobs, place);
    if (step.kind === "release") await release(kube, place);
  }
}

async function release(
  kube: Kube,
  place: { readonly namespace: string; readonly name: string },
): Promise<void> {
  const object = await kube.get(trainingJobs, place);
  if (object === undefined) return;
  const { finalizers = [], resourceVersion } = object.metadata;
  const others = finalizers.filter((one) => one !== finalizer);
  const change = { metadata: { resourceVersion, finalizers: others } };
  await kube.merge(trainingJobs, place, change).catch((error: unknown) => {
    // Changed or gone meanwhile: the next look shows it.
    if (!(error instanceof AppError) || !["conflict", "kubernetes-refused"].includes(error.code))
      throw error;
  });
}
