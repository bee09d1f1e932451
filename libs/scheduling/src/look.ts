/**
 * What the scheduler saw, as records: whole at first, then what changed. With the log of facts they
 * are all that a decision came from, so it can be made again, bit for bit.
 */
import {
  defaultPolicy,
  isAlike,
  type NodeView,
  type Policy,
  type QueueView,
  type ServiceView,
} from "./snapshot.ts";

/** Everything that a cycle looks at besides the jobs. */
export interface Look {
  readonly nodes: readonly NodeView[];
  readonly queues: readonly QueueView[];
  readonly services: readonly ServiceView[];
  readonly policy: Policy;
}

export const noLook: Look = {
  nodes: [],
  queues: [],
  services: [],
  policy: defaultPolicy,
};

export interface SawRecord {
  readonly kind: "saw";
  readonly epoch: number;
  /** Forget what was seen before. */
  readonly isWhole: boolean;
  readonly nodes: readonly NodeView[];
  readonly nodesGone: readonly string[];
  readonly queues?: readonly QueueView[];
  readonly services?: readonly ServiceView[];
  readonly policy?: Policy;
}

export interface DecidedRecord {
  readonly kind: "decided";
  readonly epoch: number;
  readonly nowMs: number;
  /** The log was folded up to here. */
  readonly sequence: number;
  readonly count: number;
  /** SHA-256 of the decisions as JSON. */
  readonly sha256: string;
}

export type DecisionRecord = SawRecord | DecidedRecord;

/** Nodes in one record: it stays far below the size of a message. */
const nodesPerRecord = 100;

/** Records that lead from one look to the next; `before` undefined: whole. None: nothing changed. */
export function recordsOf(before: Look | undefined, now: Look, epoch: number): SawRecord[] {
  const from = before ?? noLook;
  const { changed: nodes, gone: nodesGone } = differences(
    from.nodes,
    now.nodes,
    ({ nodeId }) => nodeId,
  );
  const isWhole = before === undefined;
  const rest = {
    ...changed("queues", from, now, isWhole),
    ...changed("services", from, now, isWhole),
    ...changed("policy", from, now, isWhole),
  };
  const hasNews = isWhole || nodes.length + nodesGone.length + Object.keys(rest).length > 0;
  if (!hasNews) return [];
  const first: SawRecord = {
    kind: "saw",
    epoch,
    isWhole,
    nodes: nodes.slice(0, nodesPerRecord),
    nodesGone,
    ...rest,
  };
  const more: SawRecord[] = [];
  for (let at = nodesPerRecord; at < nodes.length; at += nodesPerRecord)
    more.push({
      kind: "saw",
      epoch,
      isWhole: false,
      nodes: nodes.slice(at, at + nodesPerRecord),
      nodesGone: [],
    });
  return [first, ...more];
}

/** Which are new or otherwise than before, in their order now; and the keys that are no more. */
export function differences<One>(
  before: readonly One[],
  now: readonly One[],
  keyOf: (one: One) => string,
): { readonly changed: readonly One[]; readonly gone: readonly string[] } {
  if (before === now) return { changed: [], gone: [] };
  const known = new Map(before.map((one) => [keyOf(one), one]));
  const news: One[] = [];
  for (const one of now) {
    const key = keyOf(one);
    if (!isAlike(known.get(key), one)) news.push(one);
    known.delete(key);
  }
  return { changed: news, gone: [...known.keys()] };
}

function changed<Name extends "queues" | "services" | "policy">(
  name: Name,
  before: Look,
  now: Look,
  isWhole: boolean,
): Partial<Pick<Look, Name>> {
  if (!isWhole && isAlike(before[name], now[name])) return {};
  return { [name]: now[name] } as unknown as Pick<Look, Name>;
}

export function foldLook(before: Look, record: SawRecord): Look {
  const from = record.isWhole ? noLook : before;
  const nodes = new Map(from.nodes.map((node) => [node.nodeId, node]));
  for (const nodeId of record.nodesGone) nodes.delete(nodeId);
  for (const node of record.nodes) nodes.set(node.nodeId, node);
  return {
    nodes: [...nodes.values()],
    queues: record.queues ?? from.queues,
    services: record.services ?? from.services,
    policy: record.policy ?? from.policy,
  };
}
