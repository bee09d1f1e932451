/**
 * One rank of the exchange benchmark, in its own process: the worker's own connections and
 * all-reduce, without a training around them. Each round starts with a barrier, as the peer's does.
 */
import { assert } from "@coxswain/domain";
import { openSharedMemory } from "@coxswain/shared-memory";
import type { ExchangeMode } from "../../services/trainer/src/decide/shards.ts";
import { type Exchange, openExchange } from "../../services/trainer/src/exchange/testing.ts";

/** `mixed`: two pretended machines; shared memory within each, TCP between them. */
export interface Transport {
  readonly name: "shared-memory" | "unix" | "tcp" | "tls" | "mixed";
  /** Whether our addon may be used. */
  readonly addon: boolean;
}

/** What the parent says, in this order. */
export type ToRank =
  | {
      readonly kind: "open";
      readonly rank: number;
      readonly ranks: number;
      readonly bytes: number;
      readonly transport: Transport;
      readonly mode: ExchangeMode;
      readonly shards: number;
      readonly cacheDir: string;
    }
  | { readonly kind: "connect"; readonly addresses: readonly string[] }
  | { readonly kind: "measure"; readonly warmUps: number; readonly rounds: number }
  | { readonly kind: "close" };

let exchange: Exchange | undefined;
let expected = 0;

async function open(orders: ToRank & { kind: "open" }) {
  const { rank, ranks, bytes, transport, mode, shards, cacheDir } = orders;
  const { name, addon } = transport;
  const opened = addon ? await openSharedMemory(cacheDir) : undefined;
  assert(!addon || opened !== undefined, "the addon is installed");
  const floats = Math.ceil(bytes / 4 / 16) * 16;
  exchange = await openExchange({
    ...{ rank, world: ranks, floats, mode, shards, secret: "bench" },
    memory: name === "shared-memory" || name === "mixed" ? opened : undefined,
    ranksPerMachine: name === "mixed" ? ranks / 2 : ranks,
    connections: {
      checksum: opened?.checksum,
      isLocalAllowed: name === "unix",
      isEncrypted: name === "tls",
    },
  });
  exchange.change((input) => input.fill(rank + 1));
  expected = (ranks * (ranks + 1)) / 2;
  return { address: exchange.address };
}

/** Milliseconds of each round after the warm-ups, from the barrier to the whole sum. */
async function measure(own: Exchange, warmUps: number, rounds: number): Promise<number[]> {
  const ms: number[] = [];
  for (let round = 0; round < rounds + warmUps; round += 1) {
    await own.barrier();
    const startedMs = performance.now();
    const sum = await own.allReduce();
    if (round >= warmUps) ms.push(performance.now() - startedMs);
    assert(sum[0] === expected && sum.at(-1) === expected, "the sum is right");
  }
  return ms;
}

async function answer(message: ToRank): Promise<object> {
  switch (message.kind) {
    case "open":
      return open(message);
    case "connect":
      await exchange!.connect(message.addresses);
      return {};
    case "measure":
      return { ms: await measure(exchange!, message.warmUps, message.rounds) };
    case "close":
      await exchange!.close();
      return {};
  }
}

process.on("message", async (message: ToRank) => process.send?.(await answer(message)));
process.on("disconnect", () => process.exit(0));
