/** Runs the tests on a real Kubernetes: `npm run test:kubernetes [-- --build] [PATTERN …]`. */
import { type ChildProcess, spawn } from "node:child_process";
import { mkdtemp } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { AppError } from "@coxswain/domain";
import { installNodePackages, type Node, startNode } from "./lib/cluster-node.ts";
import { ensureImages } from "./lib/images.ts";
import { ensureKubernetes } from "./lib/kubernetes-binaries.ts";
import { type Cluster, startCluster, startKwok } from "./lib/kubernetes-cluster.ts";
import { kubernetesMinors, testedMinor } from "./lib/kubernetes-versions.ts";
import { setUp } from "./lib/set-up.ts";

const help = `npm run test:kubernetes [-- OPTIONS] [PATTERN …]

  Starts a whole Kubernetes built from Go modules, in a network namespace of its own (Debian, root),
  and runs test/kubernetes on it; where it cannot be had, says why and ends well, with
  REQUIRE_KUBERNETES=1 badly. Not while the Docker suite runs: they share the machine's packet filter.

  --version MINOR   which one: ${(await kubernetesMinors()).join(", ")}; else ${testedMinor}
  --build MINUTES   build what is not cached within so long (the first time: 10 minutes of two cores)
  --only NAME       of the tests, those whose name matches
  --control-plane   without a real node: no images are needed, Pods are played
  --up              start the cluster, say how to reach it, and end it with Ctrl-C
  --help`;

const testTimeoutMs = 900_000;
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    version: { type: "string", default: testedMinor },
    build: { type: "string", default: "0" },
    only: { type: "string", default: "" },
    "control-plane": { type: "boolean", default: false },
    up: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(help);
  process.exit(0);
}
const onLine = (line: string) => console.error(line);

let child: ChildProcess | undefined;
let isInterrupted = false;
const interrupted = Promise.withResolvers<void>();
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    isInterrupted = true;
    interrupted.resolve();
    child?.kill(signal);
  });

async function main(): Promise<number> {
  const ready = await setUp({ environment: process.env, native: false, onLine });
  const withNode = !options["control-plane"];
  const prepared = await prepare(ready, withNode);
  if (prepared === undefined) return process.env["REQUIRE_KUBERNETES"] === "1" ? 1 : 0;
  const folder = await mkdtemp(join(tmpdir(), "coxswain-kubernetes-"));
  const cluster = await startCluster({ folder, binaries: prepared.binaries, onLine });
  let node: Node | undefined;
  try {
    startKwok(cluster);
    if (withNode) {
      node = await startNode(cluster);
      for (const archive of prepared.images) await node.importImages(archive);
      onLine("set-up: a real node is ready, with the project's images");
    }
    if (isInterrupted) return 130;
    return options.up ? await hold(cluster) : await runTests(cluster, ready.natsBinary, withNode);
  } finally {
    await node?.stop();
    await cluster.stop();
  }
}

async function prepare(
  ready: { readonly cacheDir: string; readonly natsBinary: string },
  withNode: boolean,
) {
  try {
    if (process.getuid?.() !== 0) throw new AppError("setup-failed", "only root can start a node");
    const minutes = Number(options.build);
    const binaries = await ensureKubernetes({
      ...{ cacheDir: ready.cacheDir, version: options.version, withNode, onLine },
      ...{ build: minutes > 0, timeoutMs: minutes * 60_000 },
    });
    await installNodePackages(onLine);
    const images = withNode ? await ensureImages({ ...ready, onLine }) : [];
    return { binaries, images };
  } catch (error) {
    if (!(error instanceof AppError) || error.code !== "setup-failed") throw error;
    onLine(`the tests on Kubernetes are skipped: ${error.message}`);
    return undefined;
  }
}

async function hold(cluster: Cluster): Promise<number> {
  const kubectl = join(cluster.binaries.folder, "kubectl");
  const config = `--kubeconfig=${cluster.keys.kubeconfig("admin")}`;
  console.log(cluster.inside([kubectl, config]).join(" "));
  await interrupted.promise;
  return 0;
}

function runTests(cluster: Cluster, natsBinary: string, withNode: boolean): Promise<number> {
  const patterns = positionals.length > 0 ? positionals : ["test/kubernetes/**/*.test.ts"];
  const [program, ...args] = cluster.inside([
    ...[process.execPath, "--test", `--test-timeout=${testTimeoutMs}`, "--test-force-exit"],
    ...(options.only === "" ? [] : [`--test-name-pattern=${options.only}`]),
    ...["--test-concurrency=1", ...patterns],
  ]);
  const running = spawn(program, args, {
    stdio: "inherit",
    env: {
      ...process.env,
      NATS_SERVER_BIN: natsBinary,
      PATH: `${cluster.binaries.folder}:${process.env["PATH"]}`,
      KUBECONFIG: cluster.keys.kubeconfig("admin"),
      COXSWAIN_TEST_CLUSTER: cluster.folder,
      COXSWAIN_TEST_NODE: withNode ? "real" : "",
    },
  });
  child = running;
  return new Promise((resolve) => running.once("exit", (code) => resolve(code ?? 1)));
}

try {
  process.exit(await main());
} catch (error) {
  console.error(error instanceof AppError ? `${error.message}\nWhat to do: ${error.fix}` : error);
  process.exit(1);
}
