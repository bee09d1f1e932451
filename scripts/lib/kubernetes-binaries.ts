/**
 * A whole Kubernetes from Go modules, for machines that no image registry and no release page
 * answers: one program, `hyper`, that is etcd, apiserver, controllers, scheduler, kubelet, proxy or
 * kubectl by the name that it is called by. Built once for each version (10 minutes of a processor),
 * then cached by the hash of everything that it is made of.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { findKubernetes, type KubernetesVersion } from "./kubernetes-versions.ts";

const run = promisify(execFile);

const kwokModule = "sigs.k8s.io/kwok@v0.8.0";
const sources = resolve(import.meta.dirname, "../../test/kubernetes");
const parts = [
  "etcd",
  "kube-apiserver",
  "kube-controller-manager",
  "kube-scheduler",
  "kubelet",
  "kube-proxy",
  "kubectl",
];
const outputBytesMax = 16 * 1024 * 1024;

export interface KubernetesBinaries {
  /** Of Kubernetes, as in `1.37.2`. */
  readonly version: string;
  /** Holds `hyper` under the names of its parts, `kwok`, and `coredns` where it was asked for. */
  readonly folder: string;
  /** Rules by which kwok plays nodes and Pods. */
  readonly kwokStages: string;
}

export interface BuildOptions {
  readonly cacheDir: string;
  /** Of Kubernetes, as in `1.37`. */
  readonly version: string;
  /** CoreDNS too, which Pods of a real node ask for names. */
  readonly withNode: boolean;
  /** Where false, nothing is built: what is not cached is missing. */
  readonly build: boolean;
  readonly timeoutMs: number;
  readonly onLine: (line: string) => void;
}

interface Recipe {
  readonly name: string;
  /** What the result depends on, beside the version of Go. */
  readonly inputs: readonly string[];
  /** And on these. */
  readonly flags?: string;
  readonly make: (target: string, options: BuildOptions) => Promise<void>;
}

const buildFlags = ["-trimpath", "-gcflags=all=-dwarf=false"];
const goEnvironment = { ...process.env, CGO_ENABLED: "0", GOFLAGS: "-buildvcs=false" };

function versionFlags({ full }: KubernetesVersion): string {
  const [major, minor] = full.split(".");
  const values = {
    gitVersion: `v${full}`,
    gitMajor: major,
    gitMinor: minor,
    gitTreeState: "clean",
    gitCommit: "goproxy",
    buildDate: "2026-01-01T00:00:00Z",
  };
  const packages = ["k8s.io/component-base/version", "k8s.io/client-go/pkg/version"];
  const flags = packages.flatMap((name) =>
    Object.entries(values).map(([variable, value]) => `-X ${name}.${variable}=${value}`),
  );
  return ["-s -w", ...flags].join(" ");
}

function hyperOf(version: KubernetesVersion): Recipe {
  const { modFile, sumFile } = version;
  const flags = versionFlags(version);
  return {
    name: "hyper",
    inputs: [`go/${modFile}`, `go/${sumFile}`, "go/cmd/hyper/main.go"],
    flags,
    make: async (target, { timeoutMs }) => {
      const args = ["build", `-modfile=${modFile}`, ...buildFlags, "-ldflags", flags];
      await go([...args, "-o", target, "./cmd/hyper"], join(sources, "go"), timeoutMs);
    },
  };
}

const coredns: Recipe = {
  name: "coredns",
  inputs: ["coredns/go.mod", "coredns/go.sum", "coredns/cmd/coredns/main.go"],
  make: async (target, { timeoutMs }) => {
    const args = ["build", ...buildFlags, "-ldflags", "-s -w", "-o", target, "./cmd/coredns"];
    await go(args, join(sources, "coredns"), timeoutMs);
  },
};

const kwok: Recipe = {
  name: "kwok",
  inputs: [],
  make: async (target, { timeoutMs }) => {
    const folder = await mkdtemp(`${target}-`);
    try {
      const [module, version] = kwokModule.split("@");
      const args = ["install", ...buildFlags, "-ldflags", "-s -w", `${module}/cmd/kwok@${version}`];
      await go(args, folder, timeoutMs, { GOBIN: folder });
      await rename(join(folder, "kwok"), target);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  },
};

async function go(
  args: readonly string[],
  cwd: string,
  timeoutMs: number,
  environment: Readonly<Record<string, string>> = {},
): Promise<string> {
  const options = {
    cwd,
    timeout: timeoutMs,
    maxBuffer: outputBytesMax,
    env: { ...goEnvironment, ...environment },
  };
  return (await run("nice", ["-n", "5", "go", ...args], options)).stdout;
}

/**
 * Sees to the programs of a cluster.
 *
 * @throws AppError `setup-failed` when one is neither cached nor may or can be built,
 *   `invalid-config` when there is no such version
 */
export async function ensureKubernetes(options: BuildOptions): Promise<KubernetesBinaries> {
  const goVersion = await run("go", ["version"]).then(
    ({ stdout }) => stdout.trim(),
    () => "no Go",
  );
  const version = await findKubernetes(options.version);
  const hyper = hyperOf(version);
  const built = new Map<string, string>();
  for (const recipe of options.withNode ? [hyper, kwok, coredns] : [hyper, kwok])
    built.set(recipe.name, await ensureOne(recipe, goVersion, options));
  const key = createHash("sha256")
    .update([...built.values()].join())
    .digest("hex")
    .slice(0, 12);
  const folder = join(options.cacheDir, "kubernetes", `bin-${key}`);
  await mkdir(folder, { recursive: true });
  const link = (name: string, target: string) =>
    symlink(target, join(folder, name)).catch((error: NodeJS.ErrnoException) => {
      if (error.code !== "EEXIST") throw error;
    });
  for (const part of parts) await link(part, built.get("hyper")!);
  for (const [name, target] of built) if (name !== hyper.name) await link(name, target);
  return { version: version.full, folder, kwokStages: await ensureStages(folder, options) };
}

async function ensureOne(
  recipe: Recipe,
  goVersion: string,
  options: BuildOptions,
): Promise<string> {
  const { cacheDir, build, onLine } = options;
  const hash = createHash("sha256").update(`${goVersion} ${buildFlags} ${kwokModule}`);
  if (recipe.flags !== undefined) hash.update(recipe.flags);
  for (const input of recipe.inputs) hash.update(await readFile(join(sources, input)));
  const folder = join(cacheDir, "kubernetes");
  const target = join(folder, `${recipe.name}-${hash.digest("hex").slice(0, 12)}`);
  if (await exists(target)) return target;
  if (!build || goVersion === "no Go") {
    const why = build ? "there is no Go to build it with" : "it is not built here";
    throw new AppError("setup-failed", `${recipe.name} is not cached and ${why}`);
  }
  await mkdir(folder, { recursive: true });
  onLine(`set-up: building ${recipe.name} from Go modules (the first time: minutes) …`);
  const startedMs = performance.now();
  const partial = `${target}.${process.pid}`;
  try {
    await recipe.make(partial, options);
    await rename(partial, target);
  } catch (cause) {
    throw new AppError("setup-failed", `${recipe.name} could not be built: ${cause}`, { cause });
  } finally {
    await rm(partial, { force: true });
  }
  onLine(`set-up: ${recipe.name} built in ${Math.round((performance.now() - startedMs) / 1000)} s`);
  return target;
}

const stageFiles = [
  "node/fast/node-initialize.yaml",
  "node/heartbeat-with-lease/node-heartbeat-with-lease.yaml",
  "pod/fast/pod-ready.yaml",
  "pod/fast/pod-complete.yaml",
  "pod/fast/pod-delete.yaml",
];

/** kwok's rules are not in its binary: they come from its module's own folder. */
async function ensureStages(folder: string, { timeoutMs }: BuildOptions): Promise<string> {
  const target = join(folder, "kwok-stages.yaml");
  if (await exists(target)) return target;
  const described = await go(["mod", "download", "-json", kwokModule], folder, timeoutMs);
  const { Dir: module } = JSON.parse(described) as { Dir: string };
  const texts = await Promise.all(
    stageFiles.map((file) => readFile(join(module, "kustomize/stage", file), "utf8")),
  );
  await writeFile(target, texts.join("\n---\n"));
  return target;
}

function exists(path: string): Promise<boolean> {
  return access(path).then(
    () => true,
    () => false,
  );
}
