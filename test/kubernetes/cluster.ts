/** The cluster that `npm run test:kubernetes` has started, as its tests reach it. */
import { execFile } from "node:child_process";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { promisify } from "node:util";
import { connectKube } from "@coxswain/kube";

const run = promisify(execFile);

export const root = resolve(import.meta.dirname, "../..");
export const folder = process.env["COXSWAIN_TEST_CLUSTER"] ?? "";
export const skip = folder === "" ? "npm run test:kubernetes starts a cluster" : false;
export const skipReal =
  process.env["COXSWAIN_TEST_NODE"] === "real" ? false : "there is no real node in this cluster";
export const namespace = "coxswain";

const patienceMs = 180_000;
const pollMs = 100;

/** @throws what kubectl complains of */
export async function kubectl(...args: readonly string[]): Promise<string> {
  return (await run("kubectl", [...args], { maxBuffer: 64 * 1024 * 1024 })).stdout;
}

export const inNamespace = (...args: readonly string[]) => kubectl("-n", namespace, ...args);

/** Looks until there is something to see. */
export async function until<Seen>(
  what: string,
  look: () => Promise<Seen | undefined | false>,
): Promise<Seen> {
  const deadlineMs = performance.now() + patienceMs;
  for (;;) {
    const seen = await look();
    if (seen !== undefined && seen !== false) return seen;
    if (performance.now() > deadlineMs) throw new Error(`gave up waiting: ${what}`);
    await delay(pollMs);
  }
}

/** Objects from a text of YAML or JSON. */
export async function apply(manifest: string | object): Promise<string> {
  const file = join(folder, `apply-${performance.now()}.yaml`);
  await writeFile(file, typeof manifest === "string" ? manifest : JSON.stringify(manifest));
  return kubectl("apply", "-f", file);
}

export const connect = () => connectKube({ kubeconfig: process.env["KUBECONFIG"] });

/** `ctr` of the real node. */
export async function ctr(...args: readonly string[]): Promise<string> {
  const place = ["--address", join(folder, "containerd.sock"), "--namespace", "k8s.io"];
  return (await run("ctr", [...place, ...args])).stdout;
}

export interface CoxEnd {
  readonly code: number | string | null | undefined;
  readonly stdout: string;
  readonly stderr: string;
}

/** `cox` as whoever administers the cluster runs it. */
export async function cox(...args: readonly string[]): Promise<CoxEnd> {
  const command = [join(root, "libs/cli/src/main.ts"), ...args];
  return run(process.execPath, command, { cwd: root, maxBuffer: 64 * 1024 * 1024 }).then(
    (ended) => ({ code: 0, ...ended }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  );
}

/** A folder of this machine that a claim of the platform gets. */
export async function offerFolder(claim: string): Promise<string> {
  const path = join(folder, "volumes", claim);
  await mkdir(path, { recursive: true, mode: 0o777 });
  await run("chmod", ["777", path]);
  await apply({
    apiVersion: "v1",
    kind: "PersistentVolume",
    metadata: { name: claim },
    spec: {
      capacity: { storage: "100Gi" },
      accessModes: ["ReadWriteOnce", "ReadWriteMany"],
      hostPath: { path },
      storageClassName: "",
      claimRef: { namespace, name: claim },
    },
  });
  return path;
}
