/** What can be done to a running job and its platform, and undone where it does not undo itself. */
import { open, readdir, stat } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import type { ApiClient, FollowedEvent } from "@coxswain/cli";
import { liveWorkers, type Platform, type WorkerProcess } from "@coxswain/embedded";
import { killAsOneJoins } from "./kill-as-one-joins.ts";
import type { TcpProxy } from "./proxy.ts";
import { forgetReader, publishAgain } from "./replays.ts";
import { fill } from "./small-disk.ts";

export interface Scene {
  /** Between nats-server and everybody else. */
  readonly proxy?: TcpProxy;
  /** Where checkpoints lie on a small disk; undefined where none could be mounted. */
  readonly smallDisk?: string | undefined;
  readonly api: ApiClient;
  readonly platform: Platform;
  readonly jobId: string;
  readonly events: readonly FollowedEvent[];
  readonly workersMax: number;
  /** In [0, 1); seeded. */
  readonly random: () => number;
}

export interface Fault {
  readonly name: string;
  /** How often, beside the others. */
  readonly weight: number;
  /** Does it; returns who was killed, where a survivor can be timed. Undefined: it could not be done now. */
  readonly inject: (scene: Scene) => Promise<{ readonly victim?: WorkerProcess } | undefined>;
}

const apiPatienceMs = 30_000;
const eventPatienceMs = 60_000;

const pick = <Item>({ random }: Scene, items: readonly Item[]): Item | undefined =>
  items[Math.floor(random() * items.length)];

const workersOf = async ({ platform, jobId }: Scene) =>
  (await liveWorkers(platform.dataDir)).filter((worker) => worker.jobId === jobId);

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}

/** The API, or the bus, may be what was just killed. */
async function persist<Result>(act: () => Promise<Result>): Promise<Result> {
  const deadlineMs = performance.now() + apiPatienceMs;
  for (;;) {
    try {
      return await act();
    } catch (error) {
      if (performance.now() > deadlineMs) throw error;
      await delay(200);
    }
  }
}

async function until(what: string, isSo: () => boolean): Promise<void> {
  const deadlineMs = performance.now() + eventPatienceMs;
  while (!isSo()) {
    if (performance.now() > deadlineMs)
      throw new Error(`not within ${eventPatienceMs / 1000} s: ${what}`);
    await delay(20);
  }
}

async function killWorker(scene: Scene) {
  const workers = await workersOf(scene);
  const victim = pick(scene, workers);
  if (victim === undefined || workers.length < 2) return undefined;
  signal(victim.pid, "SIGKILL");
  return { victim };
}

async function killTwo(scene: Scene) {
  const workers = await workersOf(scene);
  if (workers.length < 3) return undefined;
  for (const { pid } of workers.slice(0, 2)) signal(pid, "SIGKILL");
  return {};
}

/** Where one was lost another one joins: then those are killed who take it in. */
async function killThenAsOneJoins(scene: Scene) {
  if ((await killWorker(scene)) === undefined) return undefined;
  const kill = async (workerIds: readonly string[]) => {
    for (const { pid, workerId } of await workersOf(scene))
      if (workerIds.includes(workerId)) signal(pid, "SIGKILL");
  };
  const { jobId, random } = scene;
  const { natsUrl } = scene.platform;
  return (await persist(() => killAsOneJoins({ natsUrl, jobId, random, kill }))) ? {} : undefined;
}

async function killAll(scene: Scene) {
  for (const { pid } of await workersOf(scene)) signal(pid, "SIGKILL");
  return {};
}

async function stopWorker(scene: Scene) {
  const victim = pick(scene, await workersOf(scene));
  if (victim === undefined) return undefined;
  signal(victim.pid, "SIGSTOP");
  await delay(500 + scene.random() * 3000);
  signal(victim.pid, "SIGCONT");
  return {};
}

async function killService(scene: Scene) {
  const service = pick(scene, scene.platform.services);
  await scene.platform.kill(service!);
  return {};
}

async function killBus({ platform }: Scene) {
  await platform.kill("nats-server");
  return {};
}

async function stopBus({ platform, random }: Scene) {
  const pid = platform.pidOf("nats-server");
  if (pid === undefined) return undefined;
  signal(pid, "SIGSTOP");
  await delay(1000 + random() * 4000);
  signal(pid, "SIGCONT");
  return {};
}

async function resize({ api, jobId, workersMax, random }: Scene) {
  const workers = 1 + Math.floor(random() * workersMax);
  await persist(() => api.send("PATCH", `/v1/jobs/${jobId}/workers`, { workers }));
  return {};
}

async function suspendAndResume({ api, jobId, events }: Scene) {
  const seen = events.length;
  await persist(() => api.send("POST", `/v1/jobs/${jobId}/suspend`));
  await until("the job is suspended", () =>
    events.slice(seen).some(({ name }) => name === "job.suspended"),
  );
  await persist(() => api.send("POST", `/v1/jobs/${jobId}/resume`));
  return {};
}

/** Flips a bit of the newest checkpoint, then kills everybody: the one before must serve. */
async function damageCheckpoint(scene: Scene) {
  const folder = join(scene.platform.dataDir, "store/jobs", scene.jobId, "checkpoints");
  const committed = scene.events.filter(({ name }) => name === "checkpoint.committed");
  if (committed.length < 2) return undefined;
  const newest = join(folder, String(committed.at(-1)!.payload.step));
  for (const file of await readdir(newest, { recursive: true }).catch(() => [])) {
    const path = join(newest, file);
    const { size } = await stat(path);
    if (size < 4096) continue;
    const handle = await open(path, "r+");
    try {
      const byte = Buffer.alloc(1);
      const at = Math.floor(scene.random() * size);
      await handle.read(byte, 0, 1, at);
      byte[0]! ^= 1 << Math.floor(scene.random() * 8);
      await handle.write(byte, 0, 1, at);
    } finally {
      await handle.close();
    }
    return killAll(scene);
  }
  return undefined;
}

/** Some connections let nothing through, and nobody is told. */
async function partition({ proxy, random }: Scene) {
  const mend = proxy?.cut(random, 0.2 + random() * 0.8);
  if (mend === undefined) return undefined;
  await delay(1000 + random() * 8000);
  mend();
  return {};
}

async function slowNetwork({ proxy, random }: Scene) {
  if (proxy === undefined) return undefined;
  const mostMs = 50 + random() * 450;
  proxy.delayMs = () => random() * mostMs;
  await delay(1000 + random() * 5000);
  proxy.delayMs = () => 0;
  return {};
}

async function resetConnections({ proxy, random }: Scene) {
  proxy?.reset(random, 0.3 + random() * 0.7);
  return proxy && {};
}

/** Nobody reaches the bus for so long. */
export async function outage({ proxy }: Scene, ms: number) {
  if (proxy === undefined) return undefined;
  proxy.isDown = true;
  await delay(ms);
  proxy.isDown = false;
  return {};
}

async function fillDisk({ smallDisk, random }: Scene) {
  if (smallDisk === undefined) return undefined;
  const makeRoom = await fill(smallDisk);
  await delay(1000 + random() * 6000);
  await makeRoom();
  return {};
}

async function forget({ platform }: Scene) {
  return (await persist(() => forgetReader(platform.natsUrl))) ? {} : undefined;
}

const repeatedMax = 50;

async function repeat({ platform }: Scene) {
  return (await persist(() => publishAgain(platform.natsUrl, repeatedMax))) > 0 ? {} : undefined;
}

export const faults: readonly Fault[] = [
  { name: "worker killed", weight: 8, inject: killWorker },
  { name: "two workers killed", weight: 2, inject: killTwo },
  { name: "all workers killed", weight: 1, inject: killAll },
  { name: "all but a newcomer killed", weight: 2, inject: killThenAsOneJoins },
  { name: "worker stopped, continued", weight: 3, inject: stopWorker },
  { name: "service killed", weight: 4, inject: killService },
  { name: "nats-server killed", weight: 2, inject: killBus },
  { name: "nats-server stopped, continued", weight: 2, inject: stopBus },
  { name: "resized", weight: 4, inject: resize },
  { name: "suspended, resumed", weight: 1, inject: suspendAndResume },
  { name: "checkpoint damaged, all killed", weight: 1, inject: damageCheckpoint },
  { name: "connections cut off in silence", weight: 3, inject: partition },
  { name: "network slow", weight: 2, inject: slowNetwork },
  { name: "connections reset", weight: 3, inject: resetConnections },
  { name: "disk full", weight: 2, inject: fillDisk },
  { name: "everything delivered again", weight: 2, inject: forget },
  { name: "facts published again, in reverse", weight: 2, inject: repeat },
];

/** The next fault, by weight. */
export function draw(random: () => number): Fault {
  let left = random() * faults.reduce((sum, { weight }) => sum + weight, 0);
  for (const fault of faults) {
    left -= fault.weight;
    if (left < 0) return fault;
  }
  return faults[0]!;
}
