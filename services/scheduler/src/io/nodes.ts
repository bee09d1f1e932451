/** The nodes as their agents describe them, and when each was last heard. */
import type { Bus, NodeRecord } from "@coxswain/bus";
import type { NodeView } from "@coxswain/scheduling";
import { type Hearing, hear, isSilent, lookEveryMs } from "../decide/hearing.ts";

export interface Nodes {
  view(nowMs: number): NodeView[];
}

export interface HeardNodes extends Nodes {
  /** Silence counts from now on: whoever has just taken over may have been cut off before. */
  hearAnew(): void;
}

/** Follows the bucket and the heartbeats until `signal` aborts. Calls `onChange` when a node comes. */
export function followNodes(
  bus: Bus,
  options: {
    readonly timeoutMs: number;
    readonly signal: AbortSignal;
    readonly onChange: () => void;
  },
): HeardNodes {
  const records = new Map<string, NodeRecord>();
  /** The last look; a node that is as it was stays the same object, so that nobody compares it. */
  const views = new Map<string, NodeView>();
  const heardAtMs = new Map<string, number>();
  const { signal, timeoutMs } = options;
  // Silence is measured: a wall clock that is set back would make every node silent, or none.
  const now = () => bus.clock.nowMs();
  let hearing: Hearing = { sinceMs: now(), lookedAtMs: now() };
  const isSilentNow = (nodeId: string) =>
    isSilent(hearing, heardAtMs.get(nodeId) ?? 0, { nowMs: now(), timeoutMs });
  const look = () => {
    hearing = hear(hearing, { nowMs: now(), isConnected: bus.isConnected, timeoutMs });
  };
  void (async () => {
    while (!signal.aborted) {
      look();
      await bus.clock.delay(lookEveryMs(timeoutMs), signal);
    }
  })();
  void (async () => {
    for await (const { key, value } of bus.bucket("nodes").watch({ signal })) {
      views.delete(key);
      if (value === undefined) records.delete(key);
      else {
        records.set(key, value);
        // Its heartbeats will say whether it still lives; until then it gets the benefit of the doubt.
        heardAtMs.set(key, now());
      }
      options.onChange();
    }
  })();
  void (async () => {
    for await (const { subject } of bus.listen("hb.v1.node.*", { signal })) {
      const nodeId = subject.split(".")[3] ?? "";
      const wasSilent = isSilentNow(nodeId);
      heardAtMs.set(nodeId, now());
      if (wasSilent) options.onChange();
    }
  })();
  const viewOf = (key: string, { nodeId, capacity, engines, labels }: NodeRecord) => {
    const isAlive = !isSilentNow(nodeId);
    const known = views.get(key);
    if (known?.isAlive === isAlive) return known;
    const view = { nodeId, capacity, engines, labels, isAlive };
    views.set(key, view);
    return view;
  };
  return {
    view: () => {
      look();
      return [...records].map(([key, record]) => viewOf(key, record));
    },
    hearAnew: () => {
      hearing = { sinceMs: now(), lookedAtMs: now() };
    },
  };
}
