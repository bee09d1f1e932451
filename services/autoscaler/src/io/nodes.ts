/** The nodes as their agents describe them; a node that signs off is gone. */
import type { Bus, NodeRecord } from "@coxswain/bus";

/** Follows the bucket until `signal` aborts. */
export function followNodes(bus: Bus, signal: AbortSignal): ReadonlyMap<string, NodeRecord> {
  const nodes = new Map<string, NodeRecord>();
  void (async () => {
    for await (const { key, value } of bus.bucket("nodes").watch({ signal })) {
      if (value === undefined) nodes.delete(key);
      else nodes.set(key, value);
    }
  })();
  return nodes;
}
