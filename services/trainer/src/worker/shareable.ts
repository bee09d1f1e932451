/** A worker's memory, shared with the workers beside it where that can be. */
import type { Layout } from "@coxswain/engine";
import { openSharedMemory } from "@coxswain/shared-memory";
import { type Areas, allocate } from "../exchange/memory.ts";
import type { Peers, PeersOptions } from "../exchange/peers.ts";
import type { ReduceOptions } from "../exchange/reduce.ts";
import { placeOfProcess, SharedPeers, type SharedPeersPorts } from "../exchange/shared-peers.ts";
import type { WorkerConfig } from "./config.ts";

/** Peers on this machine whose memory is mapped; others are sent the numbers. */
const windowsMax = 15;

export type Shareable = Pick<SharedPeersPorts, "memory" | "place">;

/** How this worker reaches others. */
export interface Links {
  /** Undefined where memory cannot be shared: numbers go through connections then. */
  readonly shareable: Shareable | undefined;
  readonly connections: Pick<PeersOptions, "checksum" | "isLocalAllowed">;
}

export async function openLinks(
  config: WorkerConfig,
  log: SharedPeersPorts["log"],
): Promise<Links> {
  const memory = await openSharedMemory(config.COXSWAIN_CACHE_DIR);
  if (memory === undefined)
    log("the exchange's addon is not installed: it works, slower", { see: "npm run setup" });
  const transport = config.COXSWAIN_TRANSPORT;
  return {
    shareable:
      transport === "auto" && memory ? { memory, place: await placeOfProcess() } : undefined,
    connections: { checksum: memory?.checksum, isLocalAllowed: transport !== "tcp" },
  };
}

/** What a reduction among these members needs of the memory that is shared. */
export function sharingAmong(
  sharing: Pick<SharedPeers, "windowOf" | "isMappedBy"> | undefined,
  members: readonly { readonly workerId: string }[],
): Pick<ReduceOptions, "sharing"> {
  if (sharing === undefined) return {};
  const at = (rank: number) => members[rank]?.workerId ?? "";
  return {
    sharing: {
      windowOf: (rank) => sharing.windowOf(at(rank)),
      isMappedBy: (rank) => sharing.isMappedBy(at(rank)),
    },
  };
}

/** Memory with room for the peers' windows, where they can be mapped. */
export function areasFor(shareable: Shareable | undefined, layout: Layout, shards: number): Areas {
  const windows = shareable === undefined ? 0 : Math.min(shards - 1, windowsMax);
  return allocate(layout, shards, windows);
}

/** Call it before anything is written to the areas. */
export function shareMemory(
  shareable: Shareable,
  areas: Areas,
  { peers, log }: { readonly peers: Pick<Peers, "tell">; readonly log: SharedPeersPorts["log"] },
): SharedPeers | undefined {
  if (areas.windows === 0) return undefined;
  const tell: SharedPeersPorts["tell"] = (workerId, message) => peers.tell(workerId, message);
  try {
    return new SharedPeers({ ...shareable, areas, tell, log });
  } catch (error) {
    log("memory cannot be shared; numbers go through connections", { err: error });
    return undefined;
  }
}
