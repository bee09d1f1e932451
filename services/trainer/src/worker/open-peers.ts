/** Connections to the other workers, and who in this one hears what comes over them. */
import { frameTypes } from "../exchange/frames.ts";
import { Peers } from "../exchange/peers.ts";
import type { SharedPeers } from "../exchange/shared-peers.ts";
import type { WorkerConfig } from "./config.ts";
import type { JobContext } from "./job-context.ts";
import type { GroupMembership } from "./member.ts";
import type { Links } from "./shareable.ts";
import type { Transfer } from "./transfer.ts";

export interface PeersPorts {
  readonly config: WorkerConfig;
  readonly context: JobContext;
  readonly secret: string;
  readonly links: Links;
  readonly log: (sentence: string, fields: object) => void;
}

/** Those that hear something, as they come into being. */
export interface Listeners {
  readonly group?: GroupMembership | undefined;
  readonly sharing?: SharedPeers;
  readonly transfer?: Transfer;
}

const handshakeTimeoutMs = 1000;

export function openPeers(ports: PeersPorts, listeners: Listeners): Peers {
  const { config, context, secret, links, log } = ports;
  const options = {
    jobId: config.COXSWAIN_JOB_ID,
    workerId: config.COXSWAIN_WORKER_ID,
    secret,
    host: config.COXSWAIN_HOST,
    handshakeTimeoutMs,
    ...links.connections,
    isEncrypted: context.job().spec.tls === true || config.EXCHANGE_TLS === "on",
  };
  return new Peers(options, {
    onConnected: (workerId) => {
      listeners.sharing?.onConnected(workerId);
      listeners.group?.onConnected(workerId);
    },
    onFrame: (from, frame) =>
      frame.type === frameTypes.snapshot
        ? listeners.transfer?.onFrame(from, frame)
        : listeners.group?.onFrame(from, frame),
    onControl: (from, message) => {
      if (listeners.sharing?.onControl(from, message)) return;
      if (message.kind === "snapshot") listeners.transfer?.onSnapshot(from, message);
      else if (message.kind === "formed") listeners.transfer?.onFormed(from, message);
      else listeners.group?.onControl(from, message);
    },
    onLost: (workerId, reason) => {
      log("connection lost", { peer: workerId, reason });
      listeners.sharing?.onLost(workerId);
      listeners.group?.onLost(workerId);
    },
  });
}
