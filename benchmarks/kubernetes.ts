/** The scheduler on a large cluster: a real API server, nodes and Pods that kwok plays. */
import { spawn } from "node:child_process";
import { join } from "node:path";
import { ensureKubernetes } from "../scripts/lib/kubernetes-binaries.ts";
import { startCluster, startKwok } from "../scripts/lib/kubernetes-cluster.ts";
import { testedMinor } from "../scripts/lib/kubernetes-versions.ts";
import { setUp } from "../scripts/lib/set-up.ts";
import { runBenchmark, temporaryFolder } from "./lib/clean-up.ts";
import { readOptions } from "./lib/options.ts";

const options = readOptions(
  "kubernetes",
  "The scheduler on a large cluster whose nodes and Pods are played (Debian, root).",
  {
    nodes: { value: "1000", text: "nodes of 8 GPUs" },
    pods: { value: "5000", text: "workers, of one GPU each" },
    workers: { value: "8", text: "workers of each job" },
    idle: { value: "60", text: "seconds in which nothing is asked for" },
    version: { value: testedMinor, text: "of Kubernetes, as in 1.37" },
    build: { value: "0", text: "minutes in which to build what is not cached" },
  },
);
/** The default of kube-controller-manager. */
const nodeGraceSeconds = 50;
const inside = join(import.meta.dirname, "kubernetes/inside.ts");
const size = options.quick
  ? { nodes: 20, pods: 80, workers: 8, idleSeconds: 5 }
  : {
      nodes: options.count("nodes"),
      pods: options.count("pods"),
      workers: options.count("workers"),
      idleSeconds: options.count("idle"),
    };

await runBenchmark(async (cleanUp) => {
  const onLine = (line: string) => console.error(line);
  const ready = await setUp({ environment: process.env, native: false, onLine });
  const minutes = options.count("build");
  const binaries = await ensureKubernetes({
    ...{ cacheDir: ready.cacheDir, version: options.text("version"), withNode: false, onLine },
    ...{ build: minutes > 0, timeoutMs: minutes * 60_000 },
  });
  const folder = await temporaryFolder(cleanUp);
  const cluster = await startCluster({ folder, binaries, nodeGraceSeconds, onLine });
  cleanUp.add(() => cluster.stop());
  startKwok(cluster);
  // The cluster's addresses exist in its own network alone.
  const [program, ...args] = cluster.inside([process.execPath, inside, JSON.stringify(size)]);
  const child = spawn(program, args, {
    stdio: "inherit",
    env: {
      ...process.env,
      NATS_SERVER_BIN: ready.natsBinary,
      KUBECONFIG: cluster.keys.kubeconfig("admin"),
      COXSWAIN_BENCH_APISERVER: String(cluster.pidOf("kube-apiserver")),
    },
  });
  cleanUp.add(async () => void child.kill("SIGTERM"));
  const code = await new Promise((resolve) => child.once("exit", resolve));
  if (code !== 0) throw new Error(`the part inside the cluster's network ended with ${code}`);
});
