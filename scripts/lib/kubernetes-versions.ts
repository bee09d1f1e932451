/**
 * The versions of Kubernetes that can be built: one `kubernetes-MINOR.mod` for each, with the sums of
 * all its modules beside it. A new one is made of the former by its name and versions, and
 * `go mod tidy -modfile=kubernetes-MINOR.mod`.
 */
import { readdir, readFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { AppError } from "@coxswain/domain";

const folder = resolve(import.meta.dirname, "../../test/kubernetes/go");
/** The newest that all tests were run on. */
export const testedMinor = "1.37";

const isModFile = /^kubernetes-(\d+\.\d+)\.mod$/;

export interface KubernetesVersion {
  /** As in `1.37`. */
  readonly minor: string;
  /** As in `1.37.2`. */
  readonly full: string;
  /** Name of the file that pins its modules. */
  readonly modFile: string;
  readonly sumFile: string;
}

/** As in `1.37`, newest first. */
export async function kubernetesMinors(): Promise<readonly string[]> {
  const minors = (await readdir(folder)).flatMap((name) => isModFile.exec(name)?.[1] ?? []);
  return minors.sort((a, b) => b.localeCompare(a, undefined, { numeric: true }));
}

/**
 * @param minor as in `1.37`
 * @throws AppError `invalid-config` that names those that there are
 */
export async function findKubernetes(minor: string): Promise<KubernetesVersion> {
  const minors = await kubernetesMinors();
  const found = minors.find((one) => one === minor);
  if (found === undefined)
    throw new AppError("invalid-config", `Kubernetes "${minor}": there is ${minors.join(", ")}`);
  const modFile = `kubernetes-${found}.mod`;
  const text = await readFile(join(folder, modFile), "utf8");
  const full = /^\tk8s\.io\/kubernetes v(\S+)/m.exec(text)?.[1];
  if (full === undefined) throw new Error(`${modFile} names no version of Kubernetes`);
  return { minor: found, full, modFile, sumFile: `kubernetes-${found}.sum` };
}
