/** Packages of any Debian suite, verified by apt, unpacked into a folder; the machine stays as it is. */
import { execFile } from "node:child_process";
import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";

const run = promisify(execFile);
const commandTimeoutMs = 300_000;
const signedBy = "/usr/share/keyrings/debian-archive-keyring.gpg";

export interface DebianPackages {
  /** Working files go here; what the packages hold, into `root` below it. */
  readonly folder: string;
  readonly suite: string;
  readonly packages: readonly string[];
}

/** Returns the folder that now holds what the packages hold. Their dependencies are not fetched. */
export async function unpackFromDebian(options: DebianPackages): Promise<string> {
  const { folder, suite, packages } = options;
  await mkdir(join(folder, "lists", "partial"), { recursive: true });
  await mkdir(join(folder, "cache", "archives", "partial"), { recursive: true });
  await writeFile(join(folder, "status"), "");
  const source = `deb [signed-by=${signedBy}] ${await mirror()} ${suite} main\n`;
  await writeFile(join(folder, "sources.list"), source);
  const settings = [
    `Dir::Etc::SourceList=${join(folder, "sources.list")}`,
    "Dir::Etc::SourceParts=-",
    `Dir::State::Lists=${join(folder, "lists")}`,
    `Dir::State::Status=${join(folder, "status")}`,
    `Dir::Cache=${join(folder, "cache")}`,
  ].flatMap((setting) => ["-o", setting]);
  await run("apt-get", [...settings, "update"], { timeout: commandTimeoutMs });
  await run("apt-get", [...settings, "download", ...packages], {
    timeout: commandTimeoutMs,
    cwd: folder,
  });
  const files = (await readdir(folder)).filter((name) => name.endsWith(".deb"));
  if (files.length < packages.length)
    throw new Error(`apt-get downloaded ${files.length} of ${packages.length} packages`);
  const root = join(folder, "root");
  for (const file of files)
    await run("dpkg-deb", ["-x", join(folder, file), root], { timeout: commandTimeoutMs });
  return root;
}

/** The one that this machine uses. */
async function mirror(): Promise<string> {
  const sources = await readFile("/etc/apt/sources.list.d/debian.sources", "utf8").catch(() =>
    readFile("/etc/apt/sources.list", "utf8"),
  );
  const named = /https?:\/\/[^\s]+debian\/?(?=\s|$)/m.exec(sources)?.[0];
  if (named === undefined) throw new Error("apt's sources name no Debian mirror");
  return named;
}
