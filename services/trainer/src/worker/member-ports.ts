/** What a member needs of the rest of its worker, and tells it. */
import type { AppError } from "@coxswain/domain";
import type { BatchWanted, Candidate } from "../decide/agreement.ts";
import type { Audited, AuditRule } from "../decide/audit.ts";
import type { ExchangeMode } from "../decide/shards.ts";
import type { Slow } from "../decide/shares.ts";
import type { Kernels } from "../exchange/kernels.ts";
import type { Vectors } from "../exchange/memory.ts";
import type { Peers } from "../exchange/peers.ts";
import type { SharedPeers } from "../exchange/shared-peers.ts";
import type { Clock } from "./clock.ts";
import type { Committed } from "./committed.ts";
import type { Compute } from "./compute.ts";
import type { Compiled } from "./compute-messages.ts";
import type { Gate } from "./gate.ts";
import type { Ledger } from "./ledger.ts";
import type { RecordAcceptor } from "./record-acceptor.ts";

/** What a member needs of its connections. */
export type PeersPort = Pick<
  Peers,
  | "connect"
  | "isConnected"
  | "send"
  | "sendVector"
  | "forgetVectors"
  | "tell"
  | "drop"
  | "queuedBytes"
  | "drained"
>;

export interface MemberPorts {
  readonly me: Candidate;
  readonly shards: number;
  readonly exchange: ExchangeMode;
  readonly steps: number;
  /** Samples of a step. */
  readonly batchSize: number;
  /** The batch that was asked for last. */
  readonly batchWanted?: () => BatchWanted | undefined;
  readonly compiled: Pick<Compiled, "layout" | "hash">;
  readonly compute: Pick<Compute, "order" | "expect" | "apply" | "copy" | "forgetOrders">;
  /** To the compute thread's own commits. */
  readonly gate: Gate;
  readonly vectors: Vectors;
  readonly kernels: Kernels;
  /** Members on this machine, where memory can be shared. */
  readonly sharing?: Pick<SharedPeers, "windowOf" | "windowIndexOf" | "isMappedBy" | "forgetLost">;
  readonly peers: PeersPort;
  readonly ledger: Pick<Ledger, "formed" | "committed" | "startsAt" | "generations" | "toldStep">;
  readonly record: RecordAcceptor;
  readonly clock: Clock;
  readonly knownDead: () => ReadonlySet<string>;
  readonly log: (sentence: string, fields: object) => void;
  /** This worker has become a member. */
  readonly onJoined: (generation: number, step: number) => void;
  readonly onCommitted: (committed: Committed) => void;
  /** Something is to be done between these two updates, by the first step of each. */
  readonly mustStopBetween?: (step: number, next: number) => boolean;
  /** A generation began and all steps are committed already. */
  readonly onTrained: () => void;
  /** This worker is no member any more. */
  readonly onGone: (how: "left" | "fenced") => void;
  readonly onFailed: (error: AppError, step: number) => void;
  /** So many workers train; who is level beyond that stands by. Undefined: nobody stands by. */
  readonly trainingMax?: (() => number | undefined) | undefined;
  /** This worker holds the state and is told to stand by. */
  readonly onStandingBy?: (generation: number, step: number) => void;
  /** Absent: no audits. */
  readonly audit?: AuditRule | undefined;
  /** A member is slow for so long before its shards are moved. */
  readonly patienceMs?: number;
  /** Said by the first member. */
  readonly onSlowed?: (slow: Slow) => void;
  /** A shard has other bits on another member. Said by the first member. */
  readonly onDiffers?: (audited: Audited) => void;
}
