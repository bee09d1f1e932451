/** The simulated bus promises what the real one does; here on real time. */
import { holdBusContract } from "../../contract/bus-contract.ts";
import { randomFor } from "../lib/random.ts";
import { buildNetwork, connectSimulated } from "./start.ts";

holdBusContract(async (t) => {
  const clock = {
    nowMs: () => performance.now(),
    later: (delayMs: number, act: () => void) => void setTimeout(act, delayMs),
  };
  const network = buildNetwork({ clock, random: randomFor(1, "network") });
  const { server } = network;
  t.after(() => {
    for (const link of network.links) link.close();
  });
  return {
    bus: connectSimulated(network).bus,
    server: { kill: async () => network.stop() },
    restart: async () => network.start(),
    access: {
      connectBus: async () => connectSimulated(network).bus,
      publish: async (subject, text) => {
        const data = new TextEncoder().encode(text);
        server.streamOf(subject).publish({ subject, headers: new Map(), data }, clock.nowMs());
      },
      collect: async (subject, count) => {
        const whole = Promise.withResolvers<ReadonlyMap<string, string>[]>();
        const all: ReadonlyMap<string, string>[] = [];
        server.subscribe(subject, (_subject, _data, headers) => {
          if (all.push(headers) === count) whole.resolve(all);
        });
        return () => whole.promise;
      },
      limitLog: async (maxBytes) => {
        server.stream("EVENTS").maxBytes = maxBytes;
      },
    },
  };
});
