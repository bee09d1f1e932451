/**
 * The project's own images as archives, for a node that no registry answers: built by the Dockerfile
 * on a Docker engine that ends before the node starts, kept in the cache by what they are made of.
 */
import { execFile } from "node:child_process";
import { createHash } from "node:crypto";
import { access, mkdir, readdir, readFile, rename, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import { type DockerEngine, isDockerReachable, startDockerEngine } from "./docker-engine.ts";
import { ensureBaseImages, natsImage } from "./stand-in-images.ts";

const run = promisify(execFile);

const root = resolve(import.meta.dirname, "../..");
const services = ["job-api", "scheduler", "autoscaler", "checkpoint", "trainer"];
const outputBytesMax = 64 * 1024 * 1024;

export interface ImagesOptions {
  readonly cacheDir: string;
  readonly natsBinary: string;
  readonly onLine: (line: string) => void;
}

/** @throws AppError `setup-failed` when there is no archive of them and no engine to build them */
export async function ensureImages(options: ImagesOptions): Promise<readonly string[]> {
  const { cacheDir, onLine } = options;
  const folder = join(cacheDir, "images");
  const archive = join(folder, `coxswain-${await contentHash()}.tar`);
  const isThere = await access(archive).then(
    () => true,
    () => false,
  );
  if (isThere) return [archive];
  await mkdir(folder, { recursive: true });
  const engine = await findEngine(options);
  try {
    await ensureBaseImages({ ...options, environment: engine.environment });
    const docker = (...args: readonly string[]) =>
      run("docker", args, { cwd: root, env: engine.environment, maxBuffer: outputBytesMax });
    for (const service of services) {
      onLine(`set-up: building the image of ${service} …`);
      await docker("build", "--target", service, "--tag", `coxswain/${service}:dev`, ".");
    }
    const names = services.map((service) => `coxswain/${service}:dev`);
    await docker("save", "--output", `${archive}.partial`, ...names, natsImage);
  } finally {
    await engine.stop();
  }
  // Those of earlier sources are of no use any more.
  for (const name of await readdir(folder))
    if (name.endsWith(".tar")) await rm(join(folder, name), { force: true });
  await rename(`${archive}.partial`, archive);
  return [archive];
}

async function findEngine({ cacheDir, onLine }: ImagesOptions): Promise<DockerEngine> {
  if (await isDockerReachable(process.env))
    throw new AppError(
      "setup-failed",
      "a Docker engine runs: it and a node would share the machine's packet filter",
    );
  return startDockerEngine({ folder: join(cacheDir, "docker"), environment: process.env, onLine });
}

/** Of every file that the Dockerfile may see. */
async function contentHash(): Promise<string> {
  const args = ["ls-files", "--cached", "--others", "--exclude-standard", "--"];
  const places = [
    "Dockerfile",
    ".dockerignore",
    "package.json",
    "package-lock.json",
    "libs",
    "services",
  ];
  const { stdout } = await run("git", [...args, ...places], {
    cwd: root,
    maxBuffer: outputBytesMax,
  });
  const hash = createHash("sha256");
  for (const file of stdout
    .split("\n")
    .filter((name) => name !== "" && !name.endsWith(".test.ts"))) {
    const bytes = await readFile(join(root, file)).catch(() => undefined); // Deleted, not yet committed.
    if (bytes !== undefined) hash.update(`${file}\n`).update(bytes);
  }
  return hash.digest("hex").slice(0, 12);
}
