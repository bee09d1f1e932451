/**
 * Brings the native engine: TensorFlow's C library out of PyPI's wheel, and our addon, built with
 * the user's compiler. What is there already is not brought again; what fails leaves nothing half.
 */
import { execFile } from "node:child_process";
import { access, mkdir, mkdtemp, rename, rm, statfs, symlink } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { buildAddon } from "./build-addon.ts";
import { type NativePlace, nativePlace, tensorflowVersion } from "./native-place.ts";
import { download } from "./resumable-download.ts";

const run = promisify(execFile);

const wheelSha256 = "2b847d217b02ee7731ed91431daf3250daa0196c3c94614d23be27232e6e5b6c";
const wheelMegabytes = 274;
const diskBytesMin = 3 * 1024 ** 3;
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
  const place = await nativePlace(options.cacheDir);
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
export async function removeNative(cacheDir: string): Promise<boolean> {
  const { tensorflow } = await nativePlace(cacheDir);
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
  const { cacheDir, onProgress } = options;
  const { bavail, bsize } = await statfs(cacheDir);
  if (bavail * bsize < diskBytesMin)
    throw new AppError(
      "engine-unavailable",
      `${diskBytesMin / 1024 ** 3} GiB of disk are needed in ${cacheDir}`,
    );
  const folder = await mkdtemp(join(cacheDir, "fetch-"));
  try {
    const wheelPath = await fetchWheel(folder, options);
    onProgress("set-up: unpacking TensorFlow's C library …");
    const target = join(folder, "tensorflow");
    await extract(wheelPath, target);
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

const wheel = [
  "--quiet",
  "--no-deps",
  "--only-binary=:all:",
  "--python-version",
  "3.11",
  "--implementation",
  "cp",
  "--platform",
  "manylinux_2_27_x86_64",
  `tensorflow-cpu==${tensorflowVersion}`,
];

/** pip knows its index; the hash makes sure of what came. Kept in the cache until it is whole. */
async function fetchWheel(folder: string, options: InstallOptions): Promise<string> {
  const { onProgress, cacheDir } = options;
  onProgress(
    `set-up: fetching TensorFlow ${tensorflowVersion} for the native engine (${wheelMegabytes} MB) …`,
  );
  const startedMs = performance.now();
  let bytes = 0;
  const timer = setInterval(() => {
    const seconds = Math.round((performance.now() - startedMs) / 1000);
    onProgress(`set-up: ${Math.round(bytes / 1e6)} of ${wheelMegabytes} MB in ${seconds} s …`);
  }, progressMs);
  const path = join(folder, "tensorflow.whl");
  const left = join(cacheDir, `tensorflow-${tensorflowVersion}.whl`);
  try {
    const url = await askPip(folder, options);
    const signal = AbortSignal.timeout(downloadTimeoutMs);
    const onBytes = (count: number) => {
      bytes = count;
    };
    await download({ url, sha256: wheelSha256, path: left, onBytes, signal });
    await rename(left, path);
    return path;
  } finally {
    clearInterval(timer);
  }
}

/** Where pip would fetch the wheel from. */
async function askPip(folder: string, { environment }: InstallOptions): Promise<string> {
  const [command, ...args] = await pip(folder);
  const asked = ["install", "--dry-run", "--ignore-installed", "--report", "-"];
  const target = ["--target", join(folder, "nowhere"), ...wheel];
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

/** Only the two libraries and the C headers: the whole wheel is three times as large. */
async function extract(path: string, target: string): Promise<void> {
  const program = `
import os, shutil, sys, zipfile
wheel, target, libraries, headers = sys.argv[1], sys.argv[2], sys.argv[3].split(","), sys.argv[4].split(",")
def put(member, path):
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with archive.open(member) as source, open(path, "wb") as out: shutil.copyfileobj(source, out, 1 << 20)
with zipfile.ZipFile(wheel) as archive:
    for name in libraries: put("tensorflow/" + name, target + "/lib/" + name)
    for name in headers: put("tensorflow/include/" + name, target + "/include/" + name)
`;
  await run("python3", ["-c", program, path, target, libraries.join(), headers.join()], {
    timeout: buildTimeoutMs,
  });
}
