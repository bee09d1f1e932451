/**
 * What to do so that a TrainingJob object and the job of the log are the same job.
 *
 * The object's spec is a request: it is heard once, when its generation is new. In between the log
 * leads, and the object follows: what was asked for by HTTP shows in its spec. An object without a
 * job is submitted; a job without an object gets one; an object that is deleted cancels its job and
 * goes when the job has ended.
 */
import { isEnded, type Job } from "@coxswain/domain";

export interface JobObject {
  readonly name: string;
  readonly uid: string;
  readonly generation: number;
  readonly observedGeneration: number | undefined;
  readonly jobId: string | undefined;
  /** A submission that was refused is tried again when the spec changes. */
  readonly isRefused: boolean;
  readonly isDeleted: boolean;
  readonly hasFinalizer: boolean;
  readonly isSuspended: boolean;
  readonly replicas: number | undefined;
}

export type ObjectAction =
  | { readonly kind: "hold" }
  | { readonly kind: "submit" }
  | { readonly kind: "cancel" }
  | { readonly kind: "suspend" }
  | { readonly kind: "resume" }
  | { readonly kind: "resize"; readonly workers: number }
  /** Its spec shall say what the log says. */
  | { readonly kind: "mirror"; readonly suspend: boolean; readonly replicas: number | undefined }
  /** The job has ended, or there never was one: the object may go. */
  | { readonly kind: "let-go" };

export function decideTrainingJob(
  object: JobObject,
  job: Job | undefined,
): readonly ObjectAction[] {
  if (object.isDeleted) return decideDeletion(object, job);
  if (!object.hasFinalizer) return [{ kind: "hold" }];
  const isHeard = object.observedGeneration === object.generation;
  if (object.jobId === undefined) {
    // Whoever admits jobs to the cluster, such as Kueue, has not let it in yet.
    if (object.isSuspended || (object.isRefused && isHeard)) return [];
    return [{ kind: "submit" }];
  }
  if (job === undefined || isEnded(job)) return [];
  return isHeard ? decideMirror(object, job) : decideRequests(object, job);
}

function decideDeletion(object: JobObject, job: Job | undefined): readonly ObjectAction[] {
  if (!object.hasFinalizer) return [];
  if (job === undefined || isEnded(job)) return [{ kind: "let-go" }];
  const isAsked = job.state.kind === "stopping" && job.state.to === "cancelled";
  return isAsked || job.state.kind === "finishing" ? [] : [{ kind: "cancel" }];
}

const mayBeSuspended: readonly string[] = ["queued", "placed", "running"];
const mayBeResized: readonly string[] = ["queued", "placed", "running", "suspended"];

function decideRequests(object: JobObject, { state, workersWanted }: Job): readonly ObjectAction[] {
  const actions: ObjectAction[] = [];
  const { replicas, isSuspended } = object;
  const isNew = replicas !== undefined && replicas !== workersWanted;
  if (isNew && mayBeResized.includes(state.kind))
    actions.push({ kind: "resize", workers: replicas });
  if (isSuspended && mayBeSuspended.includes(state.kind)) actions.push({ kind: "suspend" });
  if (!isSuspended && state.kind === "suspended") actions.push({ kind: "resume" });
  return actions;
}

function decideMirror(object: JobObject, { state, workersWanted }: Job): readonly ObjectAction[] {
  const suspend =
    state.kind === "suspended" || (state.kind === "stopping" && state.to === "suspended");
  const isCounted = object.replicas === undefined || object.replicas === workersWanted;
  const isSame = object.isSuspended === suspend && isCounted;
  return isSame ? [] : [{ kind: "mirror", suspend, replicas: workersWanted }];
}
