/** install, uninstall, convert: Coxswain on a Kubernetes cluster. */
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { AppError } from "@coxswain/domain";
import { stringify } from "yaml";
import { type CommonOptions, type Context, show, table } from "../context.ts";
import { type Conversion, convertEdlJob } from "../convert/edl-job.ts";
import { decideToken } from "../install/decide-token.ts";
import { type Check, decidePreFlight } from "../install/pre-flight.ts";
import { readJobFile } from "../io/submit-file.ts";
import { pc } from "../render/colours.ts";
import type { Add } from "./jobs.ts";

const manifests = resolve(import.meta.dirname, "../../../../k8s");
const marks = { ok: pc.green("ok"), warning: pc.yellow("!"), failed: pc.red("no") } as const;

interface InstallOptions extends CommonOptions {
  readonly check?: boolean;
  readonly kubeconfig?: string;
  readonly overlay: string;
}

interface UninstallCommandOptions extends CommonOptions {
  readonly kubeconfig?: string;
  readonly namespace: string;
  readonly timeout: string;
  readonly loseJobs?: boolean;
}

export function addKubernetesCommands(add: Add, context: Context): void {
  add("install", "install Coxswain on the present Kubernetes cluster, or check whether it can be", [
    "cox install --check",
    "cox install --overlay dev",
    "cox install --overlay ./our-overlay",
  ])
    .option("--check", "look only: version, nodes, storage, GPUs, rights")
    .option("--kubeconfig <file>", "cluster to use; else kubectl's present one")
    .option("--overlay <name>", "dev, production, or a folder of yours", "production")
    .action((options: InstallOptions) => install(context, options));
  add("uninstall", "take Coxswain off a cluster; jobs are suspended first, and kept", [
    "cox uninstall",
    "cox uninstall --lose-jobs",
  ])
    .option("--kubeconfig <file>", "cluster to use; else kubectl's present one")
    .option("--namespace <name>", "where it is", "coxswain")
    .option("--timeout <seconds>", "how long jobs may take to stop", "600")
    .option("--lose-jobs", "jobs, checkpoints, models and the namespace go too")
    .action((options: UninstallCommandOptions) => uninstall(context, options));
  add("convert <file>", "turn a TrainingJob of PaddlePaddle EDL into one of ours", [
    "cox convert original.yaml --program ./mnist.ts > job.yaml",
  ])
    .option("--program <path>", "the program that takes the entrypoint's place", "./program.ts")
    .action(async (file: string, options: CommonOptions & { program: string }) => {
      const conversion = convertEdlJob(await readJobFile(file), options);
      if (options.json) return show(context, options, conversion, () => "");
      context.out(stringify(conversion.job).trimEnd());
      context.err(reportOf(conversion));
    });
}

function reportOf({ mapped, dropped }: Conversion): string {
  const lines = (words: Conversion["mapped"]) =>
    words.map(({ field, word }) => `  ${field}: ${word}`).join("\n");
  return [`mapped:\n${lines(mapped)}`, `not mapped:\n${lines(dropped)}`].join("\n");
}

async function install(context: Context, options: InstallOptions): Promise<void> {
  // Loaded only here: the client of Kubernetes is large.
  const { lookAtCluster, namespace } = await import("../io/look-at-cluster.ts");
  const checks = decidePreFlight(await lookAtCluster(options.kubeconfig));
  show(context, options, { checks }, () => checkTable(checks));
  if (checks.some(({ verdict }) => verdict === "failed"))
    throw new AppError("setup-failed", "the cluster is not ready for Coxswain");
  if (options.check) return;
  const isNamed = ["dev", "production"].includes(options.overlay);
  const folder = isNamed
    ? resolve(manifests, "overlays", options.overlay)
    : resolve(options.overlay);
  await ensureToken(context, options, namespace);
  await kubectl(options, "apply", "-k", folder);
}

/** Before anything that asks for it. */
async function ensureToken(context: Context, options: InstallOptions, namespace: string) {
  // Loaded only here: the client of Kubernetes is large.
  const [{ connectKube }, { lookAtToken, makeToken }] = await Promise.all([
    import("@coxswain/kube"),
    import("../io/bus-token.ts"),
  ]);
  const kube = connectKube({ kubeconfig: options.kubeconfig });
  const step = decideToken(await lookAtToken(kube, namespace));
  if (step.kind === "refuse")
    throw new AppError("setup-failed", `nothing was installed: ${step.reason}`);
  if (step.kind === "keep") return;
  await kubectl(options, "apply", "-f", resolve(manifests, "base/namespace.yaml"));
  await makeToken(kube, namespace);
  context.err("the bus asks for a token now: Secret nats-token");
}

const partOf = ["--selector", "app.kubernetes.io/part-of=coxswain", "--ignore-not-found"];
/** What can be made again from the manifests. */
const running = [
  ...["deployments", "statefulsets", "services", "networkpolicies", "poddisruptionbudgets"],
  ...["podtemplates", "configmaps", "rolebindings", "roles", "serviceaccounts"],
];
const ofCluster = ["clusterrolebindings", "clusterroles", "priorityclasses"];

async function uninstall(context: Context, options: UninstallCommandOptions): Promise<void> {
  // Loaded only here: the client of Kubernetes is large.
  const [{ connectKube }, { stopJobs }] = await Promise.all([
    import("@coxswain/kube"),
    import("../io/uninstall.ts"),
  ]);
  const { kubeconfig, namespace, loseJobs = false } = options;
  const seconds = Number(options.timeout);
  if (!(seconds > 0))
    throw new AppError("invalid-config", `--timeout: "${options.timeout}" is no time`);
  await stopJobs({
    ...{ kube: connectKube({ kubeconfig }), namespace, keepsJobs: !loseJobs },
    ...{ timeoutMs: seconds * 1000, signal: context.signal, say: context.err },
  });
  const remove = (...args: readonly string[]) => kubectl(options, "delete", ...args);
  await remove("--namespace", namespace, ...partOf, running.join());
  if (!loseJobs) return context.err(kept(namespace));
  await remove("namespace", namespace, "--ignore-not-found");
  await remove("customresourcedefinition", "trainingjobs.coxswain.dev", "--ignore-not-found");
  await remove(...partOf, ofCluster.join());
}

const kept = (namespace: string) =>
  `kept in namespace ${namespace}: TrainingJobs, suspended, the claims that hold the log, checkpoints and models, and the Secret nats-token`;

const checkTable = (checks: readonly Check[]) =>
  table(
    ["", "check", "found"],
    checks.map(({ name, verdict, word }) => [marks[verdict], name, word]),
  );

async function kubectl(
  { kubeconfig }: { readonly kubeconfig?: string },
  ...args: readonly string[]
): Promise<void> {
  const config = kubeconfig === undefined ? [] : ["--kubeconfig", kubeconfig];
  const child = spawn("kubectl", [...config, ...args], { stdio: ["ignore", "inherit", "inherit"] });
  const code = await new Promise<number | string | null>((done) => {
    child.once("error", (error: NodeJS.ErrnoException) => done(error.code ?? "failed"));
    child.once("exit", done);
  });
  if (code !== 0) throw new AppError("setup-failed", `kubectl ended with ${code}`);
}
