/** A simulated server with the platform's streams. */
import type { Bus, Clock } from "@coxswain/bus";
import { busOn } from "@coxswain/bus/ports";
import type { Random } from "../lib/random.ts";
import { portsOn } from "./client.ts";
import { Link, Network, type NetworkClock } from "./network.ts";
import { BusServer } from "./server.ts";

export function buildNetwork(options: { clock: NetworkClock; random: Random }): Network {
  const server = new BusServer();
  server.addStream({
    name: "EVENTS",
    subjects: ["evt.v1.>"],
    discard: "new",
    duplicateWindowMs: 600_000,
  });
  server.addStream({ name: "WORKER_LOGS", subjects: ["log.v1.>"], maxMsgsPerSubject: 20_000 });
  server.addStream({ name: "DEAD_LETTERS", subjects: ["dead.v1.>"] });
  return new Network({ server, ...options });
}

/** @param clock by which the process waits; default real time */
export function connectSimulated(
  network: Network,
  clock?: Clock,
): { readonly bus: Bus; readonly link: Link } {
  const link = new Link(network);
  return { bus: busOn(portsOn(link, clock)), link };
}
