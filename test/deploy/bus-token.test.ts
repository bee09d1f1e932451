/** Three nats-servers with the configuration of `k8s/base`, on loopback: who gets in. */
import { deepEqual, rejects } from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { connectBus } from "@coxswain/bus";
import { ensureNatsServer, freePort } from "@coxswain/embedded";
import { lost, take } from "../contract/bus-contract.ts";
import { baseManifests, environmentOf, root } from "./manifests.ts";

// Without its quotes nats-server would take it for a number.
const token = "1e5";
const replicas = 3;
const { spec } = baseManifests.find(({ kind }) => kind === "StatefulSet");
const [container] = spec.template.spec.containers;

interface Place {
  readonly name: string;
  readonly port: number;
  readonly route: number;
}

/** The manifest's configuration and environment, but for ports and folders. */
async function start(t: TestContext, own: Place, peers: readonly Place[], secret: string) {
  const { path } = await ensureNatsServer({ environment: process.env });
  const folder = await mkdtemp(join(tmpdir(), "coxswain-token-"));
  const given = await readFile(join(root, "k8s/base/nats-server.conf"), "utf8");
  const text = given
    .replace("port: 4222", `listen: 127.0.0.1:${own.port}`)
    .replace(/http_port: .*\n/, "")
    .replace("port: 6222", `listen: 127.0.0.1:${own.route}`)
    .replace("/tmp/nats-server.pid", join(folder, "pid"))
    .replace('store_dir: "/data"', `store_dir: "${folder}/data"`);
  await writeFile(join(folder, "nats-server.conf"), text);
  const environment = environmentOf(container, { POD_NAME: own.name, NATS_TOKEN: secret });
  for (const [index, { route }] of peers.entries()) {
    const known = environment[`ROUTE_${index}`]!;
    const here = known.replace(/@[^"]*/, `@127.0.0.1:${route}`);
    environment[`ROUTE_${index}`] = here;
  }
  const child = spawn(path, ["-c", join(folder, "nats-server.conf")], {
    ...{ env: environment, stdio: "ignore" as const },
  });
  t.after(async () => {
    child.kill("SIGKILL");
    await once(child, "exit");
    await rm(folder, { recursive: true, force: true });
  });
}

async function startAll(t: TestContext): Promise<readonly Place[]> {
  const places: Place[] = [];
  for (const index of Array.from({ length: replicas }).keys())
    places.push({ name: `nats-${index}`, port: await freePort(), route: await freePort() });
  for (const own of places) await start(t, own, places, token);
  return places;
}

const connect = (port: number, given: string | undefined, connectTimeoutMs: number) =>
  connectBus({
    ...{ url: `nats://127.0.0.1:${port}`, name: "test", replicas, connectTimeoutMs },
    ...(given === undefined ? {} : { token: given }),
  });

test("with the token three servers are one log; without it, or with another, nobody gets in", async (t) => {
  const [first, second] = await startAll(t);
  const bus = await connect(first!.port, token, 60_000);
  t.after(() => bus.close());
  await bus.append(lost("token", 1));
  const other = await connect(second!.port, token, 60_000);
  t.after(() => other.close());
  deepEqual(
    (await take(other.follow(), 1)).map(({ id }) => id),
    ["token.lost.1"],
  );
  await rejects(connect(first!.port, undefined, 0), /bus-unavailable.*uthorization/);
  await rejects(connect(first!.port, "100000", 0), /bus-unavailable.*uthorization/);
});

test("a server with another token becomes no peer", async (t) => {
  const places = await startAll(t);
  const bus = await connect(places[0]!.port, token, 60_000);
  t.after(() => bus.close());
  const stranger = { name: "nats-3", port: await freePort(), route: await freePort() };
  await start(t, stranger, places, "another");
  // Alone it has no quorum: its own streams cannot be made, and of theirs it learns nothing.
  await rejects(connect(stranger.port, "another", 2000), /bus-unavailable/);
});
