/**
 * Three nats-servers with three replicas of the log. Their leader is killed again and again while
 * facts are appended: what was acknowledged is there once, in order; how long did writers wait.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { connectBus } from "@coxswain/bus";
import { AppError, type JobId } from "@coxswain/domain";
import { freePort } from "@coxswain/embedded";
import type { NewEvent } from "@coxswain/events";
import { jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import type { CleanUp } from "./clean-up.ts";

const size = 3;
const stream = "EVENTS";
const readyTimeoutMs = 60_000;
const restartMs = 1000;
const goalTimeoutMs = 120_000;

export interface ClusterVerdict {
  readonly leadersKilled: number;
  readonly acknowledged: number;
  readonly lost: number;
  readonly twice: number;
  readonly waitsMs: readonly number[];
}

interface Node {
  readonly name: string;
  readonly config: string;
  readonly url: string;
  child: ChildProcess;
}

async function startCluster(cleanUp: CleanUp, binary: string, dataDir: string): Promise<Node[]> {
  const ports: { readonly port: number; readonly route: number }[] = [];
  for (let index = 0; index < size; index += 1)
    ports.push({ port: await freePort(), route: await freePort() });
  const routes = ports.map(({ route }) => `"nats://127.0.0.1:${route}"`).join(", ");
  const nodes: Node[] = [];
  for (const [index, { port, route }] of ports.entries()) {
    const name = `n${index + 1}`;
    const folder = join(dataDir, name);
    await mkdir(folder, { recursive: true });
    const config = join(folder, "nats-server.conf");
    await writeFile(
      config,
      `server_name: ${name}
listen: 127.0.0.1:${port}
jetstream { store_dir: ${JSON.stringify(join(folder, "jetstream"))}, sync_interval: always }
cluster { name: chaos, listen: 127.0.0.1:${route}, routes: [${routes}] }
`,
    );
    const child = start(binary, config);
    nodes.push({ name, config, url: `nats://127.0.0.1:${port}`, child });
  }
  cleanUp.add(async () => {
    for (const { child } of nodes) child.kill("SIGKILL");
  });
  return nodes;
}

const start = (binary: string, config: string) =>
  spawn(binary, ["-c", config], { stdio: "ignore" });

async function leaderOf(nodes: readonly Node[]): Promise<Node | undefined> {
  const connection = await connect({ servers: nodes.map(({ url }) => url), timeout: 2000 });
  try {
    const manager = await jetstreamManager(connection, { checkAPI: false });
    const { cluster } = await manager.streams.info(stream);
    return nodes.find(({ name }) => name === cluster?.leader);
  } catch {
    return undefined; // It is being elected.
  } finally {
    await connection.close();
  }
}

const fact = (n: number): NewEvent => ({
  name: "worker.lost",
  jobId: "cluster" as JobId,
  id: `cluster.${n}`,
  source: "trainer",
  payload: { workerId: `w${n}`, nodeId: "n", error: { code: "worker-failed", message: "x" } },
});

/** Kills the log's leader so many times, with some hundred facts in between. */
export async function killLeaders(
  cleanUp: CleanUp,
  options: { readonly binary: string; readonly dataDir: string; readonly kills: number },
): Promise<ClusterVerdict> {
  const { binary, dataDir, kills } = options;
  const nodes = await startCluster(cleanUp, binary, dataDir);
  const url = nodes.map((node) => node.url).join(",");
  await using bus = await connectBus({
    ...{ url, name: "chaos", replicas: size, connectTimeoutMs: readyTimeoutMs },
  });
  const waitsMs: number[] = [];
  let acknowledged = 0;
  /** @throws Error after so long that no election can be the reason */
  const reach = async (goal: number) => {
    const untilMs = performance.now() + goalTimeoutMs;
    while (acknowledged < goal) {
      if (performance.now() > untilMs)
        throw new Error(
          `no fact was acknowledged for ${goalTimeoutMs} ms: ${acknowledged} of ${goal}`,
        );
      await delay(20);
    }
  };
  const write = async (until: () => boolean) => {
    while (!until()) {
      const sentMs = performance.now();
      const isStored = await bus.append(fact(acknowledged + 1), { timeoutMs: 30_000 }).then(
        () => true,
        (error: unknown) => {
          if (!(error instanceof AppError)) throw error;
          return false; // Said again, with its id.
        },
      );
      if (isStored) acknowledged += 1;
      if (isStored) waitsMs.push(performance.now() - sentMs);
    }
  };
  let leadersKilled = 0;
  let isOver = false;
  const writing = write(() => isOver);
  for (let kill = 0; kill < kills; kill += 1) {
    await reach(acknowledged + 50);
    const leader = await leaderOf(nodes);
    if (leader === undefined) continue;
    leader.child.kill("SIGKILL");
    leadersKilled += 1;
    await reach(acknowledged + 5);
    await delay(restartMs);
    leader.child = start(binary, leader.config);
  }
  isOver = true;
  await writing;
  const ids: string[] = [];
  for await (const item of bus.follow({ jobId: "cluster" as JobId })) {
    if (item.kind === "caught-up") break;
    ids.push(item.event.id);
  }
  const seen = new Set(ids);
  const said = Array.from({ length: acknowledged }, (_, n) => `cluster.${n + 1}`);
  return {
    ...{ leadersKilled, acknowledged, waitsMs, twice: ids.length - seen.size },
    lost: said.filter((id) => !seen.has(id)).length,
  };
}
