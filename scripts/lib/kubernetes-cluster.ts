/**
 * A real Kubernetes control plane for tests, in a network namespace of its own: etcd,
 * kube-apiserver, controllers, scheduler; kwok plays nodes. `cluster-node.ts` adds a real node.
 * Its addresses exist in that namespace alone: whoever talks to it runs there too (`inside`).
 */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { closeSync, openSync } from "node:fs";
import { mkdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { type Keys, makeKeys } from "./cluster-keys.ts";
import type { KubernetesBinaries } from "./kubernetes-binaries.ts";

const run = promisify(execFile);

export const address = "10.99.0.1";
export const podNetwork = "10.244.0.0/16";
const port = 6443;
const serviceNetwork = "10.96.0.0/16";
const serviceAddress = "10.96.0.1";
export const nodeName = "machine";

/** Not 50 Pods, nor 20 nodes, a second: what is tested or measured is somebody else's pace. */
const pace = ["--kube-api-qps", "1000", "--kube-api-burst", "1000"];
/** A test waits for it. */
const hastyNodeGraceSeconds = 12;
const readyTimeoutMs = 180_000;
const pollMs = 200;
const stopTimeoutMs = 15_000;

export interface Cluster {
  readonly folder: string;
  readonly keys: Keys;
  readonly binaries: KubernetesBinaries;
  /** The command with what makes it run in the cluster's network. */
  inside(command: readonly string[]): readonly [string, ...string[]];
  /** Starts a process of the cluster; `stop` ends it. */
  start(name: string, command: readonly string[]): ChildProcess;
  kubectl(...args: readonly string[]): Promise<string>;
  pidOf(name: string): number | undefined;
  /** Ends one of its processes. */
  end(name: string): Promise<void>;
  waitFor(what: string, look: () => Promise<unknown>): Promise<void>;
  stop(): Promise<void>;
}

export interface ClusterOptions {
  readonly folder: string;
  readonly binaries: KubernetesBinaries;
  /** How long a node may be silent before it is not ready; real clusters have 50. */
  readonly nodeGraceSeconds?: number;
  readonly onLine: (line: string) => void;
}

/** Root only. @throws AppError `setup-failed` */
export async function startCluster(options: ClusterOptions): Promise<Cluster> {
  const cluster = await buildCluster(options);
  try {
    await startControlPlane(cluster, options.nodeGraceSeconds ?? hastyNodeGraceSeconds);
  } catch (error) {
    await cluster.stop();
    throw error;
  }
  options.onLine(`set-up: control plane of Kubernetes ${options.binaries.version} started`);
  return cluster;
}

async function buildCluster({ folder, binaries }: ClusterOptions): Promise<Cluster> {
  await mkdir(join(folder, "log"), { recursive: true });
  const network = `coxswain-${process.pid}`;
  await openNetwork(network);
  const keys = await makeKeys({
    folder: join(folder, "keys"),
    ...{ address, port, serviceAddress, node: nodeName },
  });
  const processes = new Map<string, ChildProcess>();
  // `ip netns exec` would mount another /sys, without the control groups that a node needs.
  const inside = (command: readonly string[]) =>
    ["nsenter", `--net=/run/netns/${network}`, ...command] as const;
  const end = async (name: string) => {
    await endProcess(processes.get(name));
    processes.delete(name);
  };
  const kubectl = async (...args: readonly string[]) => {
    const program = join(binaries.folder, "kubectl");
    const [command, ...rest] = inside([program, `--kubeconfig=${keys.kubeconfig("admin")}`]);
    return (await run(command, [...rest, ...args], { maxBuffer: 64 * 1024 * 1024 })).stdout;
  };
  return {
    ...{ folder, keys, binaries, inside, end, kubectl },
    pidOf: (name) => processes.get(name)?.pid,
    start: (name, command) => {
      const log = openSync(join(folder, "log", `${name}.log`), "a");
      const [program, ...args] = inside(command);
      // Its own process group: a Ctrl-C of the terminal must not end it before those who use it.
      const child = spawn(program, args, { stdio: ["ignore", log, log], detached: true });
      closeSync(log);
      processes.set(name, child);
      return child;
    },
    waitFor: (what, look) => waitFor(what, folder, look),
    stop: async () => {
      for (const name of [...processes.keys()].reverse()) await end(name);
      await run("ip", ["netns", "delete", network]);
      await rm(folder, { recursive: true, force: true });
    },
  };
}

async function openNetwork(network: string): Promise<void> {
  const ip = (...args: readonly string[]) => run("ip", ["-n", network, ...args]);
  try {
    await run("ip", ["netns", "add", network]);
    await ip("link", "set", "lo", "up");
    // Not 127/8, which the Service `kubernetes` and the kubelet refuse.
    await ip("addr", "add", `${address}/32`, "dev", "lo");
    // Whoever looks for the way out of a network finds this one, and nobody at its end.
    await ip("link", "add", "out", "type", "veth", "peer", "name", "nobody");
    await ip("addr", "add", "10.98.0.1/24", "dev", "out");
    for (const device of ["out", "nobody"]) await ip("link", "set", device, "up");
    await ip("route", "add", "default", "via", "10.98.0.254");
  } catch (cause) {
    throw new AppError("setup-failed", `no network namespace can be made: ${cause}`, { cause });
  }
}

async function endProcess(child: ChildProcess | undefined): Promise<void> {
  if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGTERM");
  const hard = setTimeout(() => child.kill("SIGKILL"), stopTimeoutMs);
  await ended;
  clearTimeout(hard);
}

async function waitFor(what: string, folder: string, look: () => Promise<unknown>): Promise<void> {
  const deadlineMs = performance.now() + readyTimeoutMs;
  for (;;) {
    const isThere = await look().then(
      () => true,
      () => false,
    );
    if (isThere) return;
    if (performance.now() > deadlineMs)
      throw new AppError("setup-failed", `${what} did not come; see ${join(folder, "log")}`);
    await delay(pollMs);
  }
}

async function startControlPlane(cluster: Cluster, nodeGraceSeconds: number): Promise<void> {
  const { folder, keys, binaries } = cluster;
  const key = (name: string) => join(keys.folder, name);
  const program = (name: string) => join(binaries.folder, name);
  const etcd = "http://127.0.0.1:2379";
  const peer = "http://127.0.0.1:2380";
  cluster.start("etcd", [
    ...[program("etcd"), "--data-dir", join(folder, "etcd"), "--unsafe-no-fsync"],
    ...["--log-level", "warn", "--listen-client-urls", etcd, "--advertise-client-urls", etcd],
    ...["--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer],
    ...["--initial-cluster", `default=${peer}`],
  ]);
  cluster.start("kube-apiserver", [
    ...[program("kube-apiserver"), "--etcd-servers", etcd],
    ...["--bind-address", address, "--advertise-address", address, "--secure-port", String(port)],
    ...["--service-cluster-ip-range", serviceNetwork],
    ...["--tls-cert-file", key("apiserver.crt"), "--tls-private-key-file", key("apiserver.key")],
    ...["--client-ca-file", key("ca.crt"), "--authorization-mode", "Node,RBAC"],
    ...["--enable-admission-plugins", "NodeRestriction", "--allow-privileged=true"],
    ...["--service-account-issuer", "https://kubernetes.default.svc"],
    ...["--service-account-signing-key-file", key("sa.key")],
    ...["--service-account-key-file", key("sa.key"), "--profiling=false"],
    ...["--kubelet-client-certificate", key("kubelet-client.crt")],
    ...["--kubelet-client-key", key("kubelet-client.key")],
    ...["--kubelet-certificate-authority", key("ca.crt")],
    ...["--kubelet-preferred-address-types", "InternalIP"],
  ]);
  await cluster.waitFor("kube-apiserver", () => cluster.kubectl("get", "--raw", "/readyz"));
  const accountOf = (name: "controllers" | "scheduler") => [
    ...["--kubeconfig", keys.kubeconfig(name)],
    ...["--authentication-kubeconfig", keys.kubeconfig(name)],
    ...["--authorization-kubeconfig", keys.kubeconfig(name)],
    ...["--bind-address", "127.0.0.1", "--leader-elect=false", "--profiling=false"],
  ];
  cluster.start("kube-controller-manager", [
    ...[program("kube-controller-manager"), ...accountOf("controllers")],
    ...["--use-service-account-credentials", "--root-ca-file", key("ca.crt")],
    ...["--service-account-private-key-file", key("sa.key")],
    ...["--cluster-signing-cert-file", key("ca.crt")],
    ...["--cluster-signing-key-file", key("ca.key"), ...pace],
    ...["--node-monitor-grace-period", `${nodeGraceSeconds}s`, "--node-monitor-period", "1s"],
  ]);
  cluster.start("kube-scheduler", [
    ...[program("kube-scheduler"), ...accountOf("scheduler"), ...pace],
  ]);
  await cluster.waitFor("the default ServiceAccount", () =>
    cluster.kubectl("get", "serviceaccount", "default"),
  );
}

/** Nodes with the annotation `kwok.x-k8s.io/node: fake` are played from now on, and their Pods. */
export function startKwok(cluster: Cluster): void {
  const { binaries, keys } = cluster;
  cluster.start("kwok", [
    ...[join(binaries.folder, "kwok"), "--config", binaries.kwokStages],
    ...["--kubeconfig", keys.kubeconfig("kwok"), "--manage-all-nodes=false"],
    ...["--manage-nodes-with-annotation-selector", "kwok.x-k8s.io/node=fake"],
    ...["--node-ip", "10.0.0.1", "--node-lease-duration-seconds", "40"],
    ...["--server-address", "127.0.0.1:10247"],
  ]);
}
