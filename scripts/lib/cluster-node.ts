/**
 * A real node for the test cluster: containerd, kubelet, kube-proxy and CoreDNS as processes of this
 * machine, Pods on a bridge of the cluster's own network.
 */
import { execFile } from "node:child_process";
import { mkdir, readFile, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { address, type Cluster, nodeName, podNetwork } from "./kubernetes-cluster.ts";

const run = promisify(execFile);

const installTimeoutMs = 300_000;
const packages = [
  ...["containerd", "runc", "containernetworking-plugins", "busybox-static"],
  ...["iptables", "conntrack", "iproute2", "openssl"],
];
const programs = ["containerd", "runc", "busybox", "iptables", "conntrack", "openssl", "nsenter"];

/** Debian and root only. @throws AppError `setup-failed` */
export async function installNodePackages(onLine: (line: string) => void): Promise<void> {
  const isThere = await Promise.all(programs.map((name) => run("which", [name]))).then(
    () => true,
    () => false,
  );
  if (isThere) return;
  onLine("set-up: installing Debian's containerd, runc and CNI plugins …");
  const args = ["install", "-y", "--no-install-recommends", ...packages];
  const env = { ...process.env, DEBIAN_FRONTEND: "noninteractive" };
  await run("apt-get", args, { timeout: installTimeoutMs, env }).catch((cause: unknown) => {
    throw new AppError("setup-failed", `packages of a node cannot be installed: ${cause}`, {
      cause,
    });
  });
}

export interface Node {
  /** Images in it, as `docker save` or an OCI layout wrote them. */
  importImages(archive: string): Promise<void>;
  /** `ctr` in the kubelet's namespace. */
  ctr(...args: readonly string[]): Promise<string>;
  /** The kubelet alone: Pods run on, and nobody watches them. */
  startKubelet(): void;
  stop(): Promise<void>;
}

export async function startNode(cluster: Cluster): Promise<Node> {
  const { folder } = cluster;
  for (const name of ["containerd", "containerd-state", "kubelet", "cni", "log/pods"])
    await mkdir(join(folder, name), { recursive: true });
  const socket = join(folder, "containerd.sock");
  await writeFile(join(folder, "containerd.toml"), containerdConfig(folder, socket));
  await writeFile(join(folder, "cni/10-bridge.conflist"), JSON.stringify(bridge(folder)));
  await writeFile(join(folder, "kubelet.yaml"), JSON.stringify(kubeletConfig(cluster, socket)));
  await forwardPackets(cluster);
  cluster.start("containerd", ["containerd", "--config", join(folder, "containerd.toml")]);
  const ctr = async (...args: readonly string[]) =>
    (await run("ctr", ["--address", socket, "--namespace", "k8s.io", ...args])).stdout;
  await cluster.waitFor("containerd", () => ctr("version"));
  await importPause(cluster, ctr);
  startKubelet(cluster);
  await startProxy(cluster);
  await startNames(cluster);
  const isReady = ["wait", "--for=condition=Ready", `node/${nodeName}`, "--timeout=1s"];
  await cluster.waitFor("the node", () => cluster.kubectl(...isReady));
  return {
    ctr,
    importImages: async (archive) => void (await ctr("images", "import", archive)),
    startKubelet: () => startKubelet(cluster),
    stop: () => stopNode(cluster, ctr),
  };
}

function startKubelet(cluster: Cluster): void {
  const { folder, binaries, keys } = cluster;
  cluster.start("kubelet", [
    ...[join(binaries.folder, "kubelet"), "--config", join(folder, "kubelet.yaml")],
    ...["--kubeconfig", keys.kubeconfig("node"), "--root-dir", join(folder, "kubelet")],
    ...["--cert-dir", join(folder, "kubelet/pki"), "--hostname-override", nodeName],
    ...["--node-ip", address],
  ]);
}

async function forwardPackets({ inside }: Cluster): Promise<void> {
  const [command, ...args] = inside(["sysctl", "-qw", "net.ipv4.ip_forward=1"]);
  await run(command, args);
}

async function startProxy(cluster: Cluster): Promise<void> {
  const { binaries, keys } = cluster;
  const binding = ["create", "clusterrolebinding", "kube-proxy"];
  const who = ["--clusterrole", "system:node-proxier", "--user", "system:kube-proxy"];
  await cluster.kubectl(...binding, ...who);
  cluster.start("kube-proxy", [
    ...[join(binaries.folder, "kube-proxy"), "--kubeconfig", keys.kubeconfig("proxy")],
    ...["--hostname-override", nodeName, "--proxy-mode", "iptables"],
    ...["--cluster-cidr", podNetwork, "--healthz-bind-address", "127.0.0.1"],
    ...["--metrics-bind-address", "127.0.0.1", "--conntrack-max-per-core", "0"],
  ]);
}

/** CoreDNS as a process: Pods get its address from the kubelet. */
async function startNames(cluster: Cluster): Promise<void> {
  const { folder, binaries, keys } = cluster;
  const file = join(folder, "Corefile");
  const lines = [
    ".:53 {",
    `  bind ${address}`,
    "  errors",
    "  ready 127.0.0.1:8186",
    "  kubernetes cluster.local in-addr.arpa {",
    `    kubeconfig ${keys.kubeconfig("dns")}`,
    "    pods insecure",
    "  }",
    "  cache 5",
    "}",
  ];
  await writeFile(file, lines.join("\n"));
  cluster.start("coredns", [join(binaries.folder, "coredns"), "-conf", file]);
}

function containerdConfig(folder: string, socket: string): string {
  const cri = 'plugins."io.containerd.grpc.v1.cri"';
  return `version = 2
root = "${folder}/containerd"
state = "${folder}/containerd-state"
[grpc]
  address = "${socket}"
[${cri}]
  sandbox_image = "localhost/pause:1"
  # Where CAP_SYS_RESOURCE is missing, scores can only be raised.
  restrict_oom_score_adj = true
  [${cri}.cni]
    bin_dir = "/usr/lib/cni"
    conf_dir = "${folder}/cni"
  [${cri}.containerd.runtimes.runc]
    runtime_type = "io.containerd.runc.v2"
    [${cri}.containerd.runtimes.runc.options]
      SystemdCgroup = false
`;
}

function bridge(folder: string): object {
  const ipam = {
    ...{ type: "host-local", ranges: [[{ subnet: "10.244.0.0/24" }]] },
    ...{ routes: [{ dst: "0.0.0.0/0" }], dataDir: join(folder, "cni-addresses") },
  };
  const own = { type: "bridge", bridge: "cni0", isGateway: true, ipMasq: true, hairpinMode: true };
  const plugins = [
    { ...own, ipam },
    { type: "portmap", capabilities: { portMappings: true } },
    { type: "firewall" },
  ];
  return { cniVersion: "1.0.0", name: "pods", plugins };
}

function kubeletConfig({ folder, keys }: Cluster, socket: string): object {
  return {
    apiVersion: "kubelet.config.k8s.io/v1beta1",
    kind: "KubeletConfiguration",
    failCgroupV1: false,
    cgroupDriver: "cgroupfs",
    containerRuntimeEndpoint: `unix://${socket}`,
    authentication: {
      anonymous: { enabled: false },
      webhook: { enabled: true },
      x509: { clientCAFile: join(keys.folder, "ca.crt") },
    },
    authorization: { mode: "Webhook" },
    tlsCertFile: join(keys.folder, "kubelet.crt"),
    tlsPrivateKeyFile: join(keys.folder, "kubelet.key"),
    address,
    healthzBindAddress: "127.0.0.1",
    clusterDNS: [address],
    clusterDomain: "cluster.local",
    failSwapOn: false,
    podLogsDir: join(folder, "log/pods"),
    resolvConf: "/etc/resolv.conf",
    imageGCHighThresholdPercent: 100,
    imageGCLowThresholdPercent: 99,
    evictionHard: { "memory.available": "100Mi", "nodefs.available": "1%" },
    serializeImagePulls: false,
  };
}

/** The container that holds a Pod's network: Debian's static busybox, doing nothing. */
async function importPause(cluster: Cluster, ctr: Node["ctr"]): Promise<void> {
  const work = join(cluster.folder, "pause");
  const tar = (...args: string[]) => run("tar", ["-C", work, ...args]);
  await mkdir(join(work, "root/bin"), { recursive: true });
  const busybox = (await run("which", ["busybox"])).stdout.trim();
  await run("cp", [busybox, join(work, "root/bin/tail")]);
  await run("tar", ["-C", join(work, "root"), "-cf", join(work, "layer.tar"), "."]);
  const sum = (await run("sha256sum", [join(work, "layer.tar")])).stdout.split(" ")[0];
  const config = {
    ...{ architecture: "amd64", os: "linux", created: "1970-01-01T00:00:00Z" },
    config: { Entrypoint: ["/bin/tail", "-f", "/dev/null"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${sum}`] },
    history: [{ created: "1970-01-01T00:00:00Z" }],
  };
  const manifest = [
    { Config: "config.json", RepoTags: ["localhost/pause:1"], Layers: ["layer.tar"] },
  ];
  await writeFile(join(work, "config.json"), JSON.stringify(config));
  await writeFile(join(work, "manifest.json"), JSON.stringify(manifest));
  await tar("-cf", join(work, "pause.tar"), "manifest.json", "config.json", "layer.tar");
  await ctr("images", "import", join(work, "pause.tar"));
}

const lines = (text: string) => text.split("\n").filter(Boolean);

/** Ends the Pods' processes and unmounts what they had; the network goes with its namespace. */
async function stopNode(cluster: Cluster, ctr: Node["ctr"]): Promise<void> {
  for (const name of ["coredns", "kubelet", "kube-proxy"]) await cluster.end(name);
  const tasks = async () => lines(await ctr("tasks", "ls", "-q").catch(() => ""));
  for (const task of await tasks()) await ctr("tasks", "kill", "-s", "SIGKILL", task).catch(ignore);
  await cluster.waitFor("the end of all containers", async () => {
    for (const task of await tasks()) await ctr("tasks", "rm", "-f", task).catch(ignore);
    if ((await tasks()).length > 0) throw new Error("some live");
  });
  await cluster.end("containerd");
  const mounts = lines(await readFile("/proc/mounts", "utf8"))
    .map((line) => line.split(" ")[1]!)
    .filter((path) => path.startsWith(cluster.folder));
  for (const path of mounts.sort().reverse()) await run("umount", ["-l", path]).catch(ignore);
  await rm(join(cluster.folder, "containerd"), { recursive: true, force: true });
}

/** It has ended meanwhile. */
const ignore = () => undefined;
