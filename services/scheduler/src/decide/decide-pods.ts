/**
 * What to do so that the cluster has a Pod for each worker that jobs shall have, and no other; and
 * what to tell of those that have ended.
 *
 * Levels, not edges: whatever was missed shows here again. An id is used once: `launched` is written
 * before a Pod is made, so a launched worker without a Pod is gone, and another one takes its place.
 * While the cluster has not been listed, nothing is missing.
 */
import type { ClusterPod, Owner } from "./cluster.ts";

export interface WantedPod {
  readonly jobId: string;
  readonly workerId: string;
  readonly nodeId: string;
}

export interface PodsInput<Wanted extends WantedPod> {
  readonly nowMs: number;
  readonly wanted: readonly Wanted[];
  /** Placed workers of jobs that stop: their end is waited for, and told. */
  readonly leaving: readonly WantedPod[];
  /** Workers whose Pod this or an earlier holder of the lease set out to make. */
  readonly launched: ReadonlySet<string>;
  /** Pods of workers. */
  readonly pods: readonly ClusterPod[];
  /** Made just now and not seen yet; by worker, Unix ms. */
  readonly createdAtMs: ReadonlyMap<string, number>;
  /** Launched workers whose Pod is not there; by worker, since when, Unix ms. */
  readonly missingAtMs: ReadonlyMap<string, number>;
  /** The jobs' objects; a Pod without one would outlive its job's deletion. */
  readonly owners: ReadonlyMap<string, Owner>;
  /** When each job got its present placement, Unix ms. */
  readonly placedAtMs: ReadonlyMap<string, number>;
  /** Workers that have said that they leave: their process ends by itself; by worker, Unix ms. */
  readonly leftAtMs: ReadonlyMap<string, number>;
  /** Workers that their group has gone on without; by worker, since when, Unix ms. */
  readonly shutOutAtMs: ReadonlyMap<string, number>;
  /** Nodes that will be taken away soon, and those that the cluster has lost sight of. */
  readonly leavingNodes: ReadonlySet<string>;
  readonly lostNodes: ReadonlySet<string>;
}

export type PodAction<Wanted> =
  | { readonly kind: "create"; readonly wanted: Wanted; readonly owner: Owner | undefined }
  | {
      readonly kind: "delete";
      readonly pod: ClusterPod;
      readonly reason: string;
      /** At once, without waiting for the machine's word. */
      readonly isForced: boolean;
    }
  | { readonly kind: "left"; readonly wanted: WantedPod; readonly reason: string }
  | {
      readonly kind: "lost";
      readonly wanted: WantedPod;
      readonly code: string;
      readonly message: string;
      readonly exitCode?: number;
    };

/** A job's object is waited for so long; training goes first. */
const ownerWaitMs = 5000;
/** The watch brings a new Pod within milliseconds. */
const unseenMsMax = 10_000;
/** Of a Pod that was deleted by force the process may still be saying that it leaves. */
const missingMsMax = 2000;
/** A group goes on without a lost member at once; a member that lives ends by itself. */
const shutOutMsMax = 3000;
/** The cluster's scheduler has not found the room that ours saw. */
const unschedulableMsMax = 20_000;
/** From its last word to the end of its process. */
const endingMsMax = 10_000;
const imageMsMax = 120_000;
/** Ended Pods are kept for their logs. */
const endedKeptMs = 600_000;
const exitCodes = { done: 0, outOfMemory: 11, staleGeneration: 12 } as const;

export function decidePods<Wanted extends WantedPod>(
  input: PodsInput<Wanted>,
): PodAction<Wanted>[] {
  const byWorker = new Map(input.pods.map((pod) => [pod.worker?.workerId, pod]));
  const ids = new Set(input.wanted.map(({ workerId }) => workerId));
  const surplus = input.pods.filter(({ worker }) => !ids.has(worker?.workerId ?? ""));
  return [
    ...surplus.flatMap((pod) => removal(pod, input)),
    ...input.leaving.flatMap((worker) => ending(worker, byWorker.get(worker.workerId), input)),
    ...input.wanted.flatMap((wanted) => {
      const pod = byWorker.get(wanted.workerId);
      return pod === undefined ? missing(wanted, input) : present(wanted, pod, input);
    }),
  ];
}

function removal<Wanted extends WantedPod>(
  pod: ClusterPod,
  { nowMs, lostNodes, leftAtMs }: PodsInput<Wanted>,
): PodAction<Wanted>[] {
  const isLost = lostNodes.has(pod.nodeName ?? "");
  if (pod.state.kind === "ended") {
    const isOld = nowMs - pod.createdAtMs > endedKeptMs;
    return isOld && !pod.isEnding ? [remove(pod, "its worker has ended", false)] : [];
  }
  const leftMs = nowMs - (leftAtMs.get(pod.worker?.workerId ?? "") ?? 0);
  if (leftMs < endingMsMax && !isLost) return [];
  // On a lost machine nobody answers: the object would stay for ever.
  if (pod.isEnding && !isLost) return [];
  return [remove(pod, "the job wants this worker no more", isLost)];
}

/** A job stops when no worker is left, so each end is told, whoever was too late to tell it. */
function ending<Wanted extends WantedPod>(
  worker: WantedPod,
  pod: ClusterPod | undefined,
  { nowMs, createdAtMs, missingAtMs }: PodsInput<Wanted>,
): PodAction<Wanted>[] {
  if (pod !== undefined) return pod.state.kind === "ended" ? [endOf(worker, pod.state)] : [];
  const missingMs = nowMs - (missingAtMs.get(worker.workerId) ?? nowMs);
  const unseenMs = nowMs - (createdAtMs.get(worker.workerId) ?? 0);
  if (missingMs < missingMsMax || unseenMs < unseenMsMax) return [];
  return [{ kind: "left", wanted: worker, reason: "its Pod is gone" }];
}

const remove = (pod: ClusterPod, reason: string, isForced: boolean) =>
  ({ kind: "delete", pod, reason, isForced }) as const;

function missing<Wanted extends WantedPod>(
  wanted: Wanted,
  input: PodsInput<Wanted>,
): PodAction<Wanted>[] {
  const { nowMs, launched, createdAtMs, missingAtMs, owners, placedAtMs } = input;
  const { jobId, workerId } = wanted;
  const unseenMs = nowMs - (createdAtMs.get(workerId) ?? 0);
  if (unseenMs < unseenMsMax) return [];
  const missingMs = nowMs - (missingAtMs.get(workerId) ?? nowMs);
  if (launched.has(workerId) && missingMs < missingMsMax) return [];
  if (launched.has(workerId))
    return [{ kind: "lost", wanted, code: "worker-failed", message: "the worker's Pod is gone" }];
  const owner = owners.get(jobId);
  const waitedMs = nowMs - (placedAtMs.get(jobId) ?? 0);
  return owner === undefined && waitedMs < ownerWaitMs ? [] : [{ kind: "create", wanted, owner }];
}

function present<Wanted extends WantedPod>(
  wanted: Wanted,
  pod: ClusterPod,
  input: PodsInput<Wanted>,
): PodAction<Wanted>[] {
  const { nowMs, leavingNodes, lostNodes, shutOutAtMs } = input;
  const { state, isEnding, nodeName = "" } = pod;
  if (state.kind === "ended") return [endOf(wanted, state)];
  const shutOutMs = nowMs - (shutOutAtMs.get(wanted.workerId) ?? nowMs);
  if (shutOutMs > shutOutMsMax) {
    const message = "its group went on without it, and it has not ended by itself";
    return [
      { kind: "lost", wanted, code: "stale-generation", message },
      remove(pod, message, lostNodes.has(nodeName)),
    ];
  }
  if (isEnding || state.kind === "gated") return [];
  if (leavingNodes.has(nodeName)) return [remove(pod, `node ${nodeName} will go soon`, false)];
  return state.kind === "waiting" ? stuck(wanted, pod, state, nowMs) : [];
}

function endOf(
  wanted: WantedPod,
  { exitCode, reason, message }: Extract<ClusterPod["state"], { kind: "ended" }>,
): PodAction<never> {
  if (exitCode === exitCodes.done) return { kind: "left", wanted, reason: "left in good order" };
  const lost = { kind: "lost", wanted, exitCode } as const;
  if (reason === "OOMKilled" || exitCode === exitCodes.outOfMemory)
    return { ...lost, code: "out-of-memory", message: "the worker reached its memory limit" };
  if (exitCode === exitCodes.staleGeneration)
    return { ...lost, code: "stale-generation", message: "its group went on without it" };
  const own = parseEnd(message);
  if (own !== undefined) return { ...lost, ...own };
  const word = message === "" ? reason || "it left no message" : message;
  return { ...lost, code: "worker-failed", message: `exit code ${exitCode}: ${word}` };
}

/** The worker's own word, if it left one as its last message. */
function parseEnd(text: string): { readonly code: string; readonly message: string } | undefined {
  try {
    const { error } = JSON.parse(text) as { error?: { code?: string; message?: string } };
    const { code, message } = error ?? {};
    return code === undefined || message === undefined ? undefined : { code, message };
  } catch {
    return undefined; // The end of its log, or nothing.
  }
}

const imageReasons = /^(ErrImage|ImagePull|InvalidImage|CreateContainer|RunContainer)/;

function stuck(
  wanted: WantedPod,
  pod: ClusterPod,
  { reason, message }: Extract<ClusterPod["state"], { kind: "waiting" }>,
  nowMs: number,
): PodAction<never>[] {
  const waitedMs = nowMs - pod.createdAtMs;
  if (reason === "Unschedulable" && waitedMs > unschedulableMsMax) {
    const sentence = `the cluster has no room for it: ${message}`;
    return [{ kind: "left", wanted, reason: sentence }, remove(pod, sentence, false)];
  }
  if (imageReasons.test(reason) && waitedMs > imageMsMax) {
    const sentence = `its container cannot start: ${reason}: ${message}`;
    return [
      { kind: "lost", wanted, code: "worker-failed", message: sentence },
      remove(pod, sentence, false),
    ];
  }
  return [];
}
