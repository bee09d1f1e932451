/** The scheduler as its image runs it, with what it asks of the API server counted. */
import { connectBus } from "@coxswain/bus";
import { buildKube, type Request, type Send } from "@coxswain/kube";
import { KubeConfig } from "@kubernetes/client-node";
import { buildSend } from "../../libs/kube/src/request.ts";
import { openKubernetes } from "../../services/scheduler/src/io/kubernetes.ts";
import { runScheduler } from "../../services/scheduler/src/service.ts";
import type { Usage } from "./usage.ts";

const counts: Record<string, number> = {};
const verbOf = ({ method, path }: Request) => {
  if (method === "GET") return path.includes("watch=true") ? "watch" : "list";
  return { POST: "create", DELETE: "delete", PATCH: "patch", PUT: "update" }[method];
};

function countingSend(): Send {
  const config = new KubeConfig();
  config.loadFromDefault();
  const send = buildSend(config);
  return (request) => {
    const verb = verbOf(request);
    counts[verb] = (counts[verb] ?? 0) + 1;
    return send(request);
  };
}

function usage(): Usage {
  const { user, system } = process.cpuUsage();
  const { maxRSS } = process.resourceUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    memoryMib: process.memoryUsage().rss / 2 ** 20,
    memoryMibMax: maxRSS / 1024,
    requests: { ...counts },
  };
}

const stop = new AbortController();
for (const end of ["SIGTERM", "disconnect"]) process.on(end, () => stop.abort());
process.on("message", () => process.send?.({ kind: "usage", usage: usage() }));

const bus = await connectBus({ url: process.env["NATS_URL"]!, name: "scheduler" });
const kube = buildKube(countingSend());
const ports = { bus, signal: stop.signal, now: Date.now, log: () => undefined };
const options = {
  ...{ namespace: process.env["KUBERNETES_NAMESPACE"]!, templateName: "worker" },
  ...{ engine: "wasm bench", workerEnvironment: {} },
};
const done = runScheduler(
  {
    ...ports,
    openMachines: (onChange) => {
      const machines = openKubernetes({ ...ports, kube }, options, onChange);
      void machines.ready.then(() => process.send?.({ kind: "ready" }));
      return machines;
    },
  },
  { cycleIntervalMs: 1000, leaseTtlMs: 5000, nodeTimeoutMs: 10_000 },
);
await done;
await bus.close();
process.exit(0);
