/** What the contract does to nats-server beside the bus: another client, and its operator. */
import { connectBus } from "@coxswain/bus";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { BusAccess } from "./bus-contract.ts";

export function accessTo(url: string): BusAccess {
  return {
    connectBus: () => connectBus({ url, name: "other" }),
    publish: async (subject, text) => {
      const raw = await connect({ servers: url });
      await raw.request(subject, text);
      await raw.close();
    },
    collect: async (subject, count) => {
      const raw = await connect({ servers: url });
      const subscription = raw.subscribe(subject, { max: count });
      await raw.flush();
      const collecting = (async () => {
        const headers: ReadonlyMap<string, string>[] = [];
        for await (const message of subscription)
          headers.push(
            new Map([...(message.headers ?? [])].map(([name, [value]]) => [name, value!])),
          );
        await raw.close();
        return headers;
      })();
      return () => collecting;
    },
    limitLog: async (maxBytes) => {
      const raw = await connect({ servers: url });
      const manager = await jetstreamManager(raw);
      await manager.streams.update("EVENTS", { max_bytes: maxBytes });
      await raw.close();
    },
  };
}

export async function removeDurable(url: string, name: string): Promise<void> {
  const raw = await connect({ servers: url });
  await (await jetstreamManager(raw)).consumers.delete("EVENTS", name);
  await raw.close();
}
