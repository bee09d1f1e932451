/** The reductions of one generation that are under way, and frames of a generation still to come. */
import type { Missing } from "../decide/overdue.ts";
import { type ExchangeMode, type Piece, piecesOf } from "../decide/shards.ts";
import type { Updates } from "../decide/updates.ts";
import type { Frame } from "../exchange/frames.ts";
import type { BoardGroup } from "../exchange/group-exchange.ts";
import type { Kernels } from "../exchange/kernels.ts";
import type { Vectors } from "../exchange/memory.ts";
import { Reduce } from "../exchange/reduce.ts";
import type { SharedPeers } from "../exchange/shared-peers.ts";
import type { PeersPort } from "./member-ports.ts";
import { sharingAmong } from "./shareable.ts";

interface Shareholder {
  readonly workerId: string;
  readonly shardFrom: number;
  readonly shardTo: number;
}

export interface StepExchangePorts {
  readonly workerId: string;
  readonly shards: number;
  readonly exchange: ExchangeMode;
  readonly vectorFloats: number;
  readonly updates: Pick<Updates, "turnOf">;
  readonly vectors: Vectors;
  readonly kernels: Kernels;
  readonly sharing?: Pick<SharedPeers, "windowOf" | "windowIndexOf" | "isMappedBy"> | undefined;
  readonly peers: Pick<PeersPort, "send" | "sendVector">;
  generation(): number;
  members(): readonly Shareholder[];
  /** The reduced vector of the step is whole. */
  onWhole(step: number): void;
}

/** Frames of a generation that this worker has not heard of yet. */
const futureBytesMax = 256 * 1024 * 1024;

export class StepExchange {
  readonly #ports: StepExchangePorts;
  readonly #reduces = new Map<number, Reduce>();
  #future: { readonly from: string; readonly frame: Frame }[] = [];
  #futureBytes = 0;
  /** From this step of the generation on, pieces go through connections. */
  #connectedFrom = Number.POSITIVE_INFINITY;

  constructor(ports: StepExchangePorts) {
    this.#ports = ports;
  }

  /** The pieces of this worker in a generation; undefined: it is none of its members. */
  piecesIn(members: readonly Shareholder[]): readonly Piece[] | undefined {
    const { workerId, exchange } = this.#ports;
    const own = members.find((member) => member.workerId === workerId);
    return own && piecesOf({ from: own.shardFrom, to: own.shardTo }, exchange);
  }

  /** A generation is over: nothing of its steps counts any more. */
  clear(): void {
    this.#reduces.clear();
    this.#connectedFrom = Number.POSITIVE_INFINITY;
  }

  /**
   * The group whose compute threads add up this step by themselves, since all its members read each
   * other's memory; undefined: the pieces go through connections.
   *
   * A step is made in one of the two ways by all. Whoever cannot use memory sends frames; from the
   * first step that frames came for on, everybody sends them, until the generation ends.
   */
  groupAt(step: number): BoardGroup | undefined {
    const { workerId: me, generation, members, sharing, updates } = this.#ports;
    if (step >= this.#connectedFrom) return undefined;
    const ids = members().map(({ workerId }) => workerId);
    const windows = ids.map((id) => (id === me ? undefined : sharing?.windowIndexOf(id)));
    const isMutual = (id: string, rank: number) =>
      id === me || (windows[rank] !== undefined && sharing?.isMappedBy(id) === true);
    if (!ids.every(isMutual)) {
      this.#connectedFrom = step;
      return undefined;
    }
    const ranges = members().map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo }));
    const place = { generation: generation(), step, turn: updates.turnOf(step) };
    return { ...place, rank: ids.indexOf(me), ranges, windows };
  }

  /** From this step on, pieces go through connections. False: they did already. */
  connectFrom(step: number): boolean {
    if (step >= this.#connectedFrom) return false;
    this.#connectedFrom = step;
    return true;
  }

  done(step: number): void {
    this.#reduces.delete(step);
  }

  of(step: number): Reduce {
    const present = this.#reduces.get(step);
    if (present !== undefined) return present;
    const { workerId, generation, members, shards, exchange, peers } = this.#ports;
    const { vectors, vectorFloats, kernels, sharing, updates, onWhole } = this.#ports;
    const all = members();
    const reduce: Reduce = new Reduce({
      ...{ generation: generation(), step, shards, mode: exchange, vectors, vectorFloats, kernels },
      turn: updates.turnOf(step),
      rank: all.findIndex((member) => member.workerId === workerId),
      ranges: all.map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo })),
      ...sharingAmong(sharing, all),
      send: (rank, frame) => peers.send(all[rank]!.workerId, frame),
      sendVector: (rank, head, vector) => peers.sendVector(all[rank]!.workerId, head, vector),
      onWhole: () => {
        if (this.#reduces.get(step) === reduce) onWhole(step);
      },
    });
    this.#reduces.set(step, reduce);
    return reduce;
  }

  /** What this worker waits for in a step; undefined: nothing is told of it over connections. */
  missing(step: number): readonly Missing[] | undefined {
    const all = this.#ports.members();
    const lacking = this.#reduces.get(step)?.missing();
    return lacking?.map(({ rank, ...one }) => ({ ...one, workerId: all[rank]!.workerId }));
  }

  keepForLater(from: string, frame: Frame): void {
    this.#futureBytes += frame.payload.length;
    if (this.#futureBytes > futureBytesMax) return;
    this.#future.push({ from, frame: { ...frame, payload: Uint8Array.from(frame.payload) } });
  }

  /** What was kept for later, which is now. */
  takeKept(): readonly { readonly from: string; readonly frame: Frame }[] {
    const kept = this.#future;
    this.#future = [];
    this.#futureBytes = 0;
    return kept;
  }
}
