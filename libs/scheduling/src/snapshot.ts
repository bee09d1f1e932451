/** What the scheduler looks at: plain data, complete for one cycle. */
import type { Job } from "@coxswain/domain";

export interface Vector {
  readonly cpu: number;
  readonly memoryMib: number;
  readonly gpu: number;
}

export interface NodeView {
  readonly nodeId: string;
  readonly capacity: Vector;
  readonly engines: readonly { readonly name: string; readonly identity: string }[];
  /** False when no sign of life came for longer than the node time-out. */
  readonly isAlive: boolean;
}

export interface Snapshot {
  readonly nowMs: number;
  readonly jobs: readonly Job[];
  readonly nodes: readonly NodeView[];
  /** Ids for new workers, in the order of their use; as many as could be needed. */
  readonly newWorkerId: (job: Job, index: number) => string;
}

export interface PlacedWorker {
  readonly workerId: string;
  readonly nodeId: string;
}

export type WaitReason =
  | "WaitingForNodes"
  | "WaitingForQuota"
  | "ExceedsMaxQuota"
  | "NoMatchingEngine"
  | "PendingEvaluation";

export type Decision =
  | {
      readonly kind: "queue";
      readonly jobId: string;
      readonly reason: WaitReason;
      readonly message: string;
      readonly position: number;
    }
  | {
      readonly kind: "place";
      readonly jobId: string;
      readonly workers: readonly PlacedWorker[];
      readonly engine: { readonly name: string; readonly identity: string };
      readonly reason: string;
      readonly declaredDead: readonly string[];
    }
  | {
      readonly kind: "preempt";
      readonly jobId: string;
      readonly by: string;
      readonly reason: string;
    }
  | { readonly kind: "end"; readonly jobId: string; readonly how: "suspended" | "cancelled" }
  | { readonly kind: "succeed"; readonly jobId: string }
  | {
      readonly kind: "fail";
      readonly jobId: string;
      readonly code: string;
      readonly message: string;
      readonly workerId?: string;
    };

export function vectorOf(resources: {
  readonly cpu: number;
  readonly memory: number;
  readonly gpu: number;
}): Vector {
  return { cpu: resources.cpu, memoryMib: resources.memory, gpu: resources.gpu };
}

export const compareText = (a: string, b: string) => (a < b ? -1 : a > b ? 1 : 0);
