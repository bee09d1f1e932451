/** Online services: the room that is kept for their replicas. Their demand comes before any job's. */
import { counted } from "@coxswain/domain";
import type { ClusterState } from "./cluster-state.ts";
import type { Cycle } from "./draft.ts";
import type { Newcomers } from "./leaving.ts";
import { makeRoom } from "./make-room.ts";
import type { Ask } from "./room.ts";
import { compareText, type ReserveDecision } from "./snapshot.ts";
import { textOf } from "./vector.ts";

type Service = ClusterState["services"] extends ReadonlyMap<string, infer One> ? One : never;

/** Replicas stay where they are; what lacks is taken from jobs, which shrink before one is evicted. */
export function reserveForServices(cycle: Cycle): ReserveDecision[] {
  const services = [...cycle.state.services.values()].sort((a, b) => compareText(a.name, b.name));
  const kept = services.map((service) => ({ service, reserved: keep(cycle, service) }));
  return kept.flatMap(({ service, reserved }) => fill(cycle, service, reserved));
}

/** What stays: no more than is asked for, and only on nodes that are there. */
function keep({ state }: Cycle, service: Service): Map<string, number> {
  const reserved = new Map<string, number>();
  let left = service.spec.replicas;
  const nodes = Object.entries(service.reserved).sort(
    ([a, aCount], [b, bCount]) => bCount - aCount || compareText(a, b),
  );
  for (const [nodeId, count] of nodes) {
    const stays = state.room.has(nodeId) ? Math.min(left, count) : 0;
    for (let gone = stays; gone < count; gone += 1)
      state.ledger.give(nodeId, undefined, service.units);
    if (stays > 0) reserved.set(nodeId, stays);
    left -= stays;
  }
  return reserved;
}

function fill(cycle: Cycle, service: Service, reserved: Map<string, number>): ReserveDecision[] {
  const { ledger } = cycle.state;
  const { name, spec, units } = service;
  const ask: Ask = { units, selector: spec.nodeSelector };
  let missing = spec.replicas - [...reserved.values()].reduce((total, count) => total + count, 0);
  for (; missing > 0; missing -= 1) {
    const node = cycle.state.nodeFor(ask) ?? roomMadeFor(cycle, name, { ask, count: missing });
    if (node === undefined) break;
    ledger.take(node.nodeId, undefined, units);
    reserved.set(node.nodeId, (reserved.get(node.nodeId) ?? 0) + 1);
  }
  const now = Object.fromEntries([...reserved].sort(([a], [b]) => compareText(a, b)));
  const isNews = !isSame(now, service.reserved) || missing !== (service.missing ?? 0);
  const reason =
    missing === 0
      ? `room for ${counted(spec.replicas, "replica")}`
      : `${missing} replicas of ${textOf(units)} find no room, even if every job gave way`;
  return isNews ? [{ kind: "reserve", service: name, reserved: now, missing, reason }] : [];
}

function roomMadeFor(cycle: Cycle, name: string, newcomers: Newcomers) {
  const { room } = cycle.state;
  const isMade = makeRoom(cycle, {
    by: `service ${name}`,
    reason: `online service "${name}" needs the room`,
    newcomers,
    mayShrink: () => true,
    mayEvict: () => true,
    evictsBelow: Number.POSITIVE_INFINITY,
    rankOf: () => 0,
    fits: () => room.bestFit(newcomers.ask) !== undefined,
  });
  return isMade ? cycle.state.nodeFor(newcomers.ask) : undefined;
}

function isSame(a: Readonly<Record<string, number>>, b: Readonly<Record<string, number>>): boolean {
  const names = Object.keys(a);
  return names.length === Object.keys(b).length && names.every((name) => a[name] === b[name]);
}
