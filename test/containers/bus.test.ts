/** What the bus promises, held against nats-server in a container, and what a process cannot show. */
import { deepEqual, equal } from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { type Bus, connectBus } from "@coxswain/bus";
import { freePort } from "@coxswain/embedded";
import { GenericContainer, Network, Wait } from "testcontainers";
import { type ContractBus, holdBusContract, lost, take } from "../contract/bus-contract.ts";
import { accessTo } from "../contract/nats-access.ts";
import { docker, root, skip } from "./docker.ts";

const image = process.env["NATS_IMAGE"] ?? "nats:2.15-alpine";
const config = "/etc/coxswain/nats-server.conf";

interface ContainerBus extends ContractBus {
  readonly containerId: string;
  readonly networkName: string;
}

async function startContainerBus(t: TestContext): Promise<ContainerBus> {
  const network = await new Network().start();
  // A port that Docker chose would be another one after a restart.
  const port = await freePort();
  const container = await new GenericContainer(image)
    .withNetwork(network)
    .withExposedPorts({ container: 4222, host: port }, 8222)
    .withCopyFilesToContainer([{ source: join(root, "deploy/nats-server.conf"), target: config }])
    .withCommand(["--config", config])
    .withWaitStrategy(Wait.forLogMessage("Server is ready"))
    .start();
  const containerId = container.getId();
  const url = `nats://127.0.0.1:${port}`;
  const bus = await connectBus({ url, name: "test" });
  t.after(async () => {
    await bus.close();
    await docker(["rm", "--force", "--volumes", containerId]);
    await network.stop();
  });
  return {
    bus,
    access: accessTo(url),
    containerId,
    networkName: network.getName(),
    server: { kill: async () => void (await docker(["kill", containerId])) },
    restart: () => docker(["start", containerId]),
  };
}

const byNumber = (a: string, b: string) => Number(a.split(".")[2]) - Number(b.split(".")[2]);

/** Resolves when the bus has noticed. */
function noticed(bus: Bus, wanted: "connected" | "disconnected"): Promise<void> {
  return new Promise((resolve) => {
    const stop = bus.onStatus((status) => {
      if (status !== wanted) return;
      stop();
      resolve();
    });
  });
}

interface Silence {
  readonly begin: readonly string[];
  readonly end: readonly string[];
}

describe("the bus in a container", { skip }, () => {
  holdBusContract(startContainerBus);

  const silences: Record<string, (bus: ContainerBus) => Silence> = {
    "is paused": ({ containerId }) => ({
      begin: ["pause", containerId],
      end: ["unpause", containerId],
    }),
    "loses its network": ({ containerId, networkName }) => ({
      begin: ["network", "disconnect", networkName, containerId],
      end: ["network", "connect", networkName, containerId],
    }),
  };
  for (const [what, silenceOf] of Object.entries(silences)) {
    test(`a server that ${what} is noticed, and nothing is lost or doubled`, async (t) => {
      const started = await startContainerBus(t);
      const { bus } = started;
      const { begin, end } = silenceOf(started);
      const stop = new AbortController();
      t.after(() => stop.abort());
      const following = take(bus.follow({ signal: stop.signal }), 40);
      for (let n = 0; n < 20; n += 1) await bus.append(lost("silent", n));
      const disconnected = noticed(bus, "disconnected");
      await docker(begin);
      const appends = Array.from({ length: 20 }, (_, n) =>
        bus.append(lost("silent", 20 + n), { timeoutMs: 60_000 }),
      );
      await disconnected;
      equal(bus.isConnected, false);
      await docker(end);
      await Promise.all(appends);
      const events = await following;
      deepEqual(
        events.map(({ id }) => id).toSorted(byNumber),
        Array.from({ length: 40 }, (_, n) => `silent.lost.${n}`),
      );
      deepEqual(
        events.map(({ sequence }) => sequence),
        Array.from({ length: 40 }, (_, n) => n + 1),
      );
    });
  }
});
