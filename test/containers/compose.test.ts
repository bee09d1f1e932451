/** `docker compose up`, unmodified: what every platform promises, and what only containers show. */
import { deepEqual, equal, match, ok } from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, type TestContext, test } from "node:test";
import { ApiClient } from "@coxswain/cli";
import { cacheFolder, ensureNatsServer, startPlatform } from "@coxswain/embedded";
import { coxSubmit } from "../conformance/cox.ts";
import { holdPlatformContract } from "../conformance/platform-contract.ts";
import { type ComposePlatform, startCompose } from "./compose-platform.ts";
import { docker, skip } from "./docker.ts";

const services = ["job-api", "scheduler", "autoscaler", "checkpoint", "trainer"];
/** A node of half a core holds one worker of half a core: workers are spread over the containers. */
const environment = { TRAINER_CPUS: "0.5", TRAINER_MEMORY: "1536m" };
const gate = "/var/lib/coxswain/store/open";

const inStore = (platform: ComposePlatform, ...command: string[]) =>
  platform.compose("exec", "--no-TTY", "checkpoint", ...command).then(() => undefined);

/** Kills a container as a machine dies; it comes back, as a machine does that starts again. */
async function crash(containerId: string): Promise<void> {
  await docker(["kill", containerId]);
  await docker(["start", containerId]);
}

const logs: Record<string, readonly string[]> = {
  "the platform in containers": [],
  "the platform in containers, with the log on three nats-servers": [
    "test/containers/three-nats.yml",
  ],
};
for (const [where, files] of Object.entries(logs))
  holdPlatformContract(
    where,
    async (t) => {
      const platform = await startCompose(t, { trainers: 3, environment, files });
      return {
        apiUrl: platform.apiUrl,
        gate: {
          path: gate,
          open: () => inStore(platform, "touch", gate),
          close: () => inStore(platform, "rm", "-f", gate),
        },
        // A container's name is its node's.
        crash: ({ nodeId }) => crash(nodeId),
        crashLog: async () => crash((await platform.containersOf("nats"))[0]!),
      };
    },
    { skip },
  );

const mnist = {
  file: "examples/mnist/mlp.yaml",
  settings: [
    "spec.epochs=null",
    "spec.steps=200",
    "spec.shards=8",
    "spec.engine=wasm",
    "spec.workers.min=1",
  ],
};

const digits = [...mnist.settings, "spec.steps=20"];

/** Speaks to nats-server as somebody does who is in its network and has no token. */
const helloWithoutToken = `
  const socket = require("node:net").connect(4222, "nats");
  socket.on("connect", () => socket.write('CONNECT {"verbose":false}\\r\\nPING\\r\\n'));
  socket.on("data", (data) => process.stdout.write(data));
  socket.on("close", () => process.exit(0));
  setTimeout(() => process.exit(1), 10000);
`;

/** Names of the packages in an image's node_modules that are no links to its own folders. */
const modulesThere = `JSON.stringify(
  fs.readdirSync("node_modules", { withFileTypes: true })
    .flatMap((entry) => entry.name.startsWith("@")
      ? fs.readdirSync("node_modules/" + entry.name, { withFileTypes: true })
        .map((one) => ({ name: entry.name + "/" + one.name, isFolder: one.isDirectory() }))
      : [{ name: entry.name, isFolder: entry.isDirectory() }])
    .filter(({ name, isFolder }) => isFolder && !name.startsWith("."))
    .map(({ name }) => name),
)`;

/** The hash of the same run on this machine itself. */
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
    const { events } = await coxSubmit(platform.apiUrl, mnist);
    return events.at(-1)!.payload.weightsSha256;
  } finally {
    await platform.stop();
  }
}

async function everyContainer(platform: ComposePlatform, format: string): Promise<string[]> {
  const ids = await Promise.all(services.map((service) => platform.containersOf(service)));
  return Promise.all(ids.flat().map((id) => docker(["inspect", "--format", format, id])));
}

describe("containers", { skip }, () => {
  test("a trainer dies for good: MNIST ends with the bits of an embedded run; the rest stops in good order", async (t) => {
    const wanted = await embeddedHash(t);
    const platform = await startCompose(t, { trainers: 2, environment });
    let victim: string | undefined;
    const run = await coxSubmit(platform.apiUrl, {
      ...mnist,
      onEvent: async ({ name, payload }) => {
        if (name !== "training.generation-formed" || payload.members.length < 2) return;
        victim ??= payload.members[0].nodeId as string;
        await docker(["kill", victim]).catch(() => undefined); // It is dead already.
      },
    });
    equal(run.exitCode, 0, run.stderr);
    ok(victim !== undefined);
    equal(run.events.at(-1)!.payload.weightsSha256, wanted);
    await platform.compose("stop", "--timeout", "15");
    const codes = await everyContainer(platform, "{{.State.ExitCode}}");
    deepEqual(codes.toSorted(), ["0", "0", "0", "0", "0", "137"]);
  });

  test("no image runs as root, and each says how its health is seen", async () => {
    await docker(["compose", "build", "--quiet"]);
    const format = "{{.Config.User}} {{.Config.Healthcheck.Test}}";
    for (const service of services) {
      const image = `coxswain/${service}`;
      const [user, ...check] = (
        await docker(["image", "inspect", "--format", format, image])
      ).split(" ");
      equal(user, "node");
      ok(check.join(" ").includes("/healthz"), `${service}: ${check}`);
    }
  });

  test("each image says what it is made of, as CycloneDX, and no module in it is missing there", async (t) => {
    await docker(["compose", "build", "--quiet"]);
    for (const service of services) {
      const image = `coxswain/${service}`;
      const run = (...command: string[]) =>
        docker(["run", "--rm", "--network=none", image, "node", "-p", ...command]);
      const bill = JSON.parse(await run("fs.readFileSync('sbom.cdx.json', 'utf8')"));
      equal(bill.bomFormat, "CycloneDX");
      const nameOf = ({ purl }: { purl: string }) =>
        decodeURIComponent(/^pkg:npm\/(.+)@/.exec(purl)![1]!);
      const listed = new Set(bill.components.map(nameOf));
      const present: string[] = JSON.parse(await run(modulesThere));
      ok(present.length > 50, `${present.length} modules`);
      deepEqual(
        present.filter((name) => !listed.has(name)),
        [],
      );
      const bytes = Number(await docker(["image", "inspect", "--format", "{{.Size}}", image]));
      t.diagnostic(`${service}: ${Math.round(bytes / 1e6)} MB, ${present.length} modules`);
    }
  });

  test("with a token from a file: no container names it, and without it nobody is let in", async (t) => {
    const folder = await mkdtemp(join(tmpdir(), "coxswain-secrets-"));
    t.after(() => rm(folder, { recursive: true, force: true }));
    const file = join(folder, "nats-token");
    await writeFile(file, "no-word-to-guess\n", { mode: 0o644 });
    await chmod(folder, 0o755);
    const platform = await startCompose(t, {
      trainers: 1,
      environment: { ...environment, NATS_TOKEN_FILE: file },
      files: ["deploy/compose-secrets.yml"],
    });
    const run = await coxSubmit(platform.apiUrl, { ...mnist, settings: digits });
    equal(run.exitCode, 0, run.stderr);
    const [nats] = await platform.containersOf("nats");
    for (const shown of [
      await everyContainer(platform, "{{json .}}"),
      await docker(["inspect", nats!]),
    ])
      equal(JSON.stringify(shown).includes("no-word-to-guess"), false);
    const [scheduler] = await platform.containersOf("scheduler");
    const answer = await docker(["exec", scheduler!, "node", "-e", helloWithoutToken]);
    match(answer, /Authorization Violation/);
  });

  test("what was stored outlives its containers", async (t) => {
    const platform = await startCompose(t, { trainers: 1, environment });
    const { events } = await coxSubmit(platform.apiUrl, mnist);
    const { jobId, payload } = events.at(-1)!;
    await platform.compose("down", "--timeout", "5");
    await platform.compose("up", "--detach", "--wait");
    const [trainer] = await platform.containersOf("trainer");
    const api = new ApiClient(platform.apiUrl);
    const job = await api.get(`/v1/jobs/${jobId}`);
    deepEqual([job.state, job.weightsSha256], ["succeeded", payload.weightsSha256]);
    const nodes: { nodeId: string }[] = (await api.get("/v1/nodes")).items;
    deepEqual(
      nodes.map(({ nodeId }) => trainer!.startsWith(nodeId)),
      [true],
      "a container that stopped in good order has left no node behind",
    );
    const model = await api.bytes(`/v1/jobs/${jobId}/model`);
    ok(model.length > 0);
  });
});
