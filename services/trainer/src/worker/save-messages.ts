/** What the threads of a worker say to each other so that a part of a checkpoint is written. */
import type { MessagePort } from "node:worker_threads";
import type { JobCheckpoint } from "@coxswain/domain";
import type { Areas } from "../exchange/memory.ts";

/** What the compute thread has of the saver. */
export interface SaverEnds {
  readonly snapshots: MessagePort;
  /** One int32: how many snapshots have been copied. */
  readonly copied: SharedArrayBuffer;
  /** One float64: milliseconds that the compute thread has waited for copies. */
  readonly pausedMs: SharedArrayBuffer;
}

export interface SaveThreadOptions extends Pick<SaverEnds, "snapshots" | "copied"> {
  readonly storeUrl: string;
  readonly areas: Areas;
  /** Lengths of the copies that will be asked for. */
  readonly warmFloats: readonly number[];
}

/** From the compute thread: floats `from <= i < to` of the state are these until they are copied. */
export interface Snapshot {
  readonly id: number;
  readonly from: number;
  readonly to: number;
}

/** From the control thread: where the snapshot goes. */
export interface SaveRequest {
  readonly id: number;
  readonly path: string;
  /** Where the same bytes may lie already. */
  readonly newest: Pick<JobCheckpoint, "path" | "sha256"> | undefined;
  readonly triesMax: number;
}

export interface Saved {
  readonly path: string;
  readonly bytes: number;
  readonly sha256: string;
  /** Of the parameters alone. */
  readonly weightsSha256: string;
  /** The part lies with an older checkpoint, unchanged. */
  readonly isReused: boolean;
}

export type SaveReply =
  | { readonly kind: "saved"; readonly id: number; readonly saved: Saved }
  /** `isLast`: it is not tried again. */
  | {
      readonly kind: "failed";
      readonly id: number;
      readonly isLast: boolean;
      readonly code: string;
      readonly message: string;
    };
