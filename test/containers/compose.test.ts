/** `docker compose up`, then `cox submit examples/mnist/mlp.yaml --follow`: the same path, the same bits. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { ApiClient, auditThroughApi, type FollowedEvent } from "@coxswain/cli";
import { cacheFolder, ensureNatsServer, startPlatform } from "@coxswain/embedded";
import { type ComposePlatform, coxSubmit, startCompose } from "./compose.ts";
import { docker, skip } from "./docker.ts";

const file = "examples/mnist/mlp.yaml";
const services = ["job-api", "scheduler", "autoscaler", "checkpoint", "trainer"];
/** A node of half a core holds one worker of half a core: workers are spread over the containers. */
const environment = { TRAINER_CPUS: "0.5", TRAINER_MEMORY: "1536m" };
const common = [
  "spec.epochs=null",
  "spec.steps=300",
  "spec.shards=8",
  "spec.engine=wasm",
  "spec.checkpoint.everySteps=100",
];
const disturbedBy = (min: number, max: number) => [
  ...common,
  `spec.workers.min=${min}`,
  `spec.workers.max=${max}`,
];

/** The hash of a run that nothing disturbs, with one worker, on this machine itself. */
async function embeddedHash(t: TestContext): Promise<string> {
  const { path } = await ensureNatsServer({ environment: process.env });
  const dataDir = await mkdtemp(join(tmpdir(), "coxswain-containers-"));
  t.after(() => rm(dataDir, { recursive: true, force: true }));
  const platform = await startPlatform({
    dataDir,
    natsBinary: path,
    cacheDir: cacheFolder(process.env),
    environment: process.env,
  });
  try {
    const { events } = await coxSubmit(platform.apiUrl, { file, settings: disturbedBy(1, 1) });
    return hashOf(events);
  } finally {
    await platform.stop();
  }
}

function hashOf(events: readonly FollowedEvent[]): string {
  const last = events.at(-1);
  equal(last?.name, "job.succeeded", JSON.stringify(last));
  match(last?.payload.weightsSha256, /^[0-9a-f]{64}$/);
  return last?.payload.weightsSha256;
}

const trainsWith = (event: FollowedEvent, workers: number) =>
  event.name === "training.progressed" && event.payload.workers >= workers;

/** The containers are named by their ids, and so are the nodes. */
const memberNodes = (events: readonly FollowedEvent[]): string[] =>
  events
    .findLast(({ name }) => name === "training.generation-formed")!
    .payload.members.map(({ nodeId }: { nodeId: string }) => nodeId);

async function everyContainer(platform: ComposePlatform, format: string): Promise<string[]> {
  const ids = await Promise.all(services.map((service) => platform.containersOf(service)));
  return Promise.all(ids.flat().map((id) => docker(["inspect", "--format", format, id])));
}

describe("the platform in containers", { skip }, () => {
  test("a trainer and the log are killed in a run: it ends with the bits of an embedded one; a stop is orderly", async (t) => {
    const wanted = await embeddedHash(t);
    const platform = await startCompose(t, { trainers: 3, environment });
    const seen: FollowedEvent[] = [];
    const killed: string[] = [];
    const run = await coxSubmit(platform.apiUrl, {
      file,
      settings: disturbedBy(2, 3),
      onEvent: async (event) => {
        seen.push(event);
        if (killed.length === 0 && trainsWith(event, 3)) {
          const [victim] = memberNodes(seen);
          killed.push(victim!);
          await docker(["kill", victim!]);
        } else if (killed.length === 1 && event.payload.cause === "loss") {
          const [nats] = await platform.containersOf("nats");
          killed.push(nats!);
          await docker(["kill", nats!]);
          await docker(["start", nats!]);
        }
      },
    });
    equal(run.exitCode, 0, run.stderr);
    equal(killed.length, 2);
    equal(hashOf(run.events), wanted);
    const api = new ApiClient(platform.apiUrl);
    const report = await auditThroughApi(api, run.events.at(-1)!.jobId);
    deepEqual([report.ok, report.stepsTwice, report.stepsSkipped], [true, 0, 0]);

    const guarded = await everyContainer(
      platform,
      "{{.Config.User}} {{.HostConfig.ReadonlyRootfs}} {{.HostConfig.CapDrop}}",
    );
    deepEqual(new Set(guarded), new Set(["node true [ALL]"]));

    await platform.compose("stop", "--timeout", "15");
    const codes = await everyContainer(platform, "{{.State.ExitCode}}");
    // The trainer that was killed is the only one that did not end by itself.
    deepEqual(codes.toSorted(), ["0", "0", "0", "0", "0", "0", "137"]);
  });

  test("what was stored outlives its containers", async (t) => {
    const platform = await startCompose(t, { trainers: 1, environment });
    const { events } = await coxSubmit(platform.apiUrl, {
      file,
      settings: [...disturbedBy(1, 1), "spec.steps=40"],
    });
    const hash = hashOf(events);
    await platform.compose("down", "--timeout", "5");
    await platform.compose("up", "--detach", "--wait");
    const [trainer] = await platform.containersOf("trainer");
    const api = new ApiClient(platform.apiUrl);
    const job = await api.get(`/v1/jobs/${events.at(-1)!.jobId}`);
    deepEqual([job.state, job.weightsSha256], ["succeeded", hash]);
    const nodes: { nodeId: string }[] = (await api.get("/v1/nodes")).items;
    deepEqual(
      nodes.map(({ nodeId }) => trainer!.startsWith(nodeId)),
      [true],
      "a container that stopped in good order has left no node behind",
    );
    const model = await api.bytes(`/v1/jobs/${job.id}/model`);
    ok(model.length > 0);
  });
});
