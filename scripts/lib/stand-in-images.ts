/**
 * The base images, where no image registry answers: the same names, made of this machine's own
 * node, npm and nats-server with busybox as the userland. Dockerfile and compose file stay as they are.
 */
import { execFile, spawn } from "node:child_process";
import {
  chmod,
  copyFile,
  cp,
  mkdir,
  mkdtemp,
  realpath,
  rm,
  symlink,
  writeFile,
} from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { pipeline } from "node:stream/promises";
import { promisify } from "node:util";
import type { Environment } from "./docker-engine.ts";

const run = promisify(execFile);

export const natsImage = "nats:2.15-alpine";
export const nodeImage = "node:24-slim";

const pullTimeoutMs = 120_000;
const binPath = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
const folders = "bin etc/ssl/certs tmp usr/bin usr/local/bin usr/local/lib/node_modules";
/** glibc opens these by itself to look up names. */
const nameLibraries = ["libnss_files.so.2", "libnss_dns.so.2", "libresolv.so.2"];
const certificates = "/etc/ssl/certs/ca-certificates.crt";

export interface StandInOptions {
  readonly environment: Environment;
  readonly natsBinary: string;
  readonly onLine: (line: string) => void;
}

/** Sees to both base images: present, pulled, or made here. */
export async function ensureBaseImages(options: StandInOptions): Promise<void> {
  const makers = new Map([
    [natsImage, () => makeNatsImage(options)],
    [nodeImage, () => makeNodeImage(options)],
  ]);
  for (const [image, make] of makers) {
    const docker = (...args: string[]) =>
      run("docker", args, { env: options.environment, timeout: pullTimeoutMs }).then(
        () => true,
        () => false,
      );
    if (await docker("image", "inspect", image)) continue;
    if (await docker("pull", "--quiet", image)) continue;
    options.onLine(`set-up: no registry gives ${image}; making a stand-in of this machine's own`);
    await make();
  }
}

async function makeNatsImage({ environment, natsBinary }: StandInOptions): Promise<void> {
  await withRoot(async (root) => {
    await addProgram(root, natsBinary, "usr/local/bin/nats-server");
    const changes = [`ENV PATH=${binPath}`, 'ENTRYPOINT ["nats-server"]', "EXPOSE 4222 8222"];
    await importImage(root, natsImage, changes, environment);
  });
}

async function makeNodeImage({ environment }: StandInOptions): Promise<void> {
  await withRoot(async (root) => {
    await addProgram(root, process.execPath, "usr/local/bin/node");
    for (const name of nameLibraries) {
      const library = `/lib/x86_64-linux-gnu/${name}`;
      await copyFile(library, join(root, library)).catch(() => undefined); // Not on this machine.
    }
    const npm = dirname(dirname(await realpath((await run("which", ["npm"])).stdout.trim())));
    await cp(npm, join(root, "usr/local/lib/node_modules/npm"), { recursive: true });
    for (const name of ["npm", "npx"])
      await symlink(
        `../lib/node_modules/npm/bin/${name}-cli.js`,
        join(root, "usr/local/bin", name),
      );
    // `npm ci` in a build reaches the registry as this machine does.
    await copyFile(certificates, join(root, certificates));
    const changes = [`ENV PATH=${binPath}`, `ENV NODE_EXTRA_CA_CERTS=${certificates}`];
    await importImage(root, nodeImage, [...changes, 'CMD ["node"]'], environment);
  });
}

/** A root folder with busybox under its usual names, and two users. */
async function withRoot(use: (root: string) => Promise<void>): Promise<void> {
  const root = await mkdtemp(join(tmpdir(), "coxswain-image-"));
  try {
    for (const folder of folders.split(" ")) await mkdir(join(root, folder), { recursive: true });
    await chmod(root, 0o755);
    await chmod(join(root, "tmp"), 0o1777);
    const busybox = (await run("which", ["busybox"])).stdout.trim();
    await copyFile(busybox, join(root, "bin/busybox"));
    for (const name of (await run(busybox, ["--list"])).stdout.trim().split("\n"))
      if (name !== "busybox") await symlink("/bin/busybox", join(root, "bin", name));
    await symlink("/bin/busybox", join(root, "usr/bin/env"));
    await writeFile(
      join(root, "etc/passwd"),
      `root:x:0:0::/root:/bin/sh\nnode:x:1000:1000::/tmp:/bin/sh\n`,
    );
    await writeFile(join(root, "etc/group"), `root:x:0:\nnode:x:1000:\n`);
    await writeFile(join(root, "etc/nsswitch.conf"), "hosts: files dns\n");
    await use(root);
  } finally {
    await rm(root, { recursive: true, force: true });
  }
}

/** A program with the libraries that it is linked with, at their own paths. */
async function addProgram(root: string, program: string, place: string): Promise<void> {
  await copyFile(program, join(root, place));
  await chmod(join(root, place), 0o755);
  const { stdout } = await run("ldd", [program]).catch(() => ({ stdout: "" })); // Linked statically.
  for (const library of stdout.match(/\/\S+/g) ?? []) {
    await mkdir(join(root, dirname(library)), { recursive: true });
    await copyFile(library, join(root, library));
  }
}

async function importImage(
  root: string,
  name: string,
  changes: readonly string[],
  environment: Environment,
): Promise<void> {
  const tar = spawn("tar", ["-C", root, "-c", "."], { stdio: ["ignore", "pipe", "inherit"] });
  const args = ["import", ...changes.flatMap((change) => ["--change", change]), "-", name];
  const docker = spawn("docker", args, {
    stdio: ["pipe", "ignore", "inherit"],
    env: environment,
  });
  const code = new Promise((resolve) => docker.once("exit", resolve));
  await pipeline(tar.stdout, docker.stdin);
  if ((await code) !== 0) throw new Error(`docker import of ${name} failed`);
}
