/** The three nats-servers of `k8s/base`, with its configuration, in containers: R3 for real. */
import { deepEqual, equal } from "node:assert/strict";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { connectBus } from "@coxswain/bus";
import { freePort } from "@coxswain/embedded";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { GenericContainer, Network, Wait } from "testcontainers";
import { lost, take } from "../contract/bus-contract.ts";
import { baseManifests, environmentOf } from "../deploy/manifests.ts";
import { docker, root, skip } from "./docker.ts";

const image = process.env["NATS_IMAGE"] ?? "nats:2.15-alpine";
const config = "/etc/coxswain/nats-server.conf";
const replicas = 3;
const token = "a-token-of-the-test";
const logContainer = baseManifests.find(({ kind }) => kind === "StatefulSet").spec.template.spec
  .containers[0];

interface ClusterServer {
  readonly name: string;
  readonly url: string;
  readonly containerId: string;
}

async function startCluster(t: TestContext): Promise<ClusterServer[]> {
  const network = await new Network().start();
  const containers: string[] = [];
  t.after(async () => {
    if (containers.length > 0) await docker(["rm", "--force", "--volumes", ...containers]);
    await network.stop();
  });
  return Promise.all(
    Array.from({ length: replicas }, async (_, index): Promise<ClusterServer> => {
      const name = `nats-${index}`;
      const port = await freePort();
      const container = await new GenericContainer(image)
        .withNetwork(network)
        .withNetworkAliases(`${name}.nats-peers`)
        .withEnvironment(environmentOf(logContainer, { POD_NAME: name, NATS_TOKEN: token }))
        .withExposedPorts({ container: 4222, host: port }, 8222)
        .withCopyFilesToContainer([
          { source: join(root, "k8s/base/nats-server.conf"), target: config },
        ])
        .withCommand(["--config", config])
        // They have no leader yet: whoever connects now has to be patient.
        .withWaitStrategy(Wait.forLogMessage("Server is ready"))
        .start();
      containers.push(container.getId());
      return { name, url: `nats://127.0.0.1:${port}`, containerId: container.getId() };
    }),
  );
}

/** The server that leads the log, and one that does not. The streams are made on the way. */
async function rolesOf(servers: readonly ClusterServer[]) {
  const [first] = servers;
  const bus = await connectBus({ url: first!.url, name: "first", token, replicas });
  await bus.close();
  const raw = await connect({ servers: first!.url, token, ignoreClusterUpdates: true });
  const manager = await jetstreamManager(raw, { checkAPI: false });
  const { config: stream, cluster } = await manager.streams.info("EVENTS");
  await raw.close();
  equal(stream.num_replicas, replicas);
  return {
    leader: servers.find(({ name }) => name === cluster?.leader)!,
    follower: servers.find(({ name }) => name !== cluster?.leader)!,
  };
}

/** What Kubernetes runs in the Pod before it ends it. */
const preStop: readonly string[] = logContainer.lifecycle.preStop.exec.command;

const ends: Record<string, (containerId: string) => Promise<void>> = {
  "is killed": async (id) => void (await docker(["kill", id])),
  "is told to go, as Kubernetes does it,": async (id) => {
    await docker(["exec", id, ...preStop]);
    await docker(["stop", "--time", "60", id]);
    equal(await docker(["inspect", "--format", "{{.State.ExitCode}}", id]), "0");
  },
};

describe("the log on three nats-servers", { skip }, () => {
  for (const [how, end] of Object.entries(ends))
    test(`its leader ${how} and comes back: nothing acknowledged is lost, nothing stored twice`, async (t) => {
      const { leader, follower } = await rolesOf(await startCluster(t));
      const bus = await connectBus({ url: follower.url, name: "test", token, replicas });
      t.after(() => bus.close());
      const append = (n: number) => bus.append(lost("r3", n), { timeoutMs: 60_000 });
      for (let n = 0; n < 20; n += 1) await append(n);
      const ended = end(leader.containerId);
      for (let n = 20; n < 40; n += 1) await append(n);
      await ended;
      for (let n = 40; n < 60; n += 1) await append(n);
      equal((await append(0)).duplicate, true);
      await docker(["start", leader.containerId]);
      deepEqual(
        (await take(bus.follow(), 60)).map(({ id, sequence }) => [id, sequence]),
        Array.from({ length: 60 }, (_, n) => [`r3.lost.${n}`, n + 1]),
      );
    });
});
