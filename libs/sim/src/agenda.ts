/** What a scenario says will happen, in a queue. */
import type { NodeView } from "@coxswain/scheduling";
import { EventQueue } from "./event-queue.ts";
import type { Scenario, SimulatedJob } from "./scenario.ts";

export type Event =
  | { readonly kind: "job"; readonly simulated: SimulatedJob }
  | { readonly kind: "node"; readonly node: NodeView }
  | { readonly kind: "silent" | "gone"; readonly nodeId: string }
  | { readonly kind: "started"; readonly jobId: string; readonly workerId: string }
  | { readonly kind: "done"; readonly jobId: string; readonly change: number }
  | { readonly kind: "demand"; readonly service: string; readonly replicas: number }
  | { readonly kind: "serving"; readonly service: string }
  | { readonly kind: "look" };

export function agendaOf({
  nodes,
  jobs,
  services = [],
  costs,
  beginMs = 0,
}: Scenario): EventQueue<Event> {
  const queue = new EventQueue<Event>();
  for (const { node, arrivesAtMs, lostAtMs } of nodes) {
    queue.add(arrivesAtMs ?? beginMs, { kind: "node", node });
    if (lostAtMs === undefined) continue;
    queue.add(lostAtMs, { kind: "silent", nodeId: node.nodeId });
    queue.add(lostAtMs + costs.nodeTimeoutMs, { kind: "gone", nodeId: node.nodeId });
  }
  for (const { name, demand } of services)
    for (const { atMs, replicas } of demand)
      queue.add(atMs, { kind: "demand", service: name, replicas });
  for (const simulated of jobs) queue.add(simulated.arrivesAtMs, { kind: "job", simulated });
  return queue;
}
