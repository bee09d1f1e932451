// Gets a fresh clone ready and runs a TypeScript program with the right Node. Plain JavaScript,
// since it starts under whatever Node (>= 20) the user has.
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFile = join(root, "node_modules", ".coxswain-setup");
const nodeMin = [24, 12];

/** Changes of what is installed show in the lock file alone. */
function lockHash() {
  return createHash("sha256")
    .update(readFileSync(join(root, "package-lock.json")))
    .digest("hex");
}

function isInstalled() {
  return existsSync(stampFile) && readFileSync(stampFile, "utf8") === lockHash();
}

function npm(args, what) {
  const run = spawnSync(process.platform === "win32" ? "npm.cmd" : "npm", args, {
    cwd: root,
    stdio: ["ignore", "pipe", "pipe"],
    encoding: "utf8",
    shell: process.platform === "win32",
  });
  if (run.status === 0) return;
  const output = `${run.stdout ?? ""}${run.stderr ?? ""}`.trim().split("\n").slice(-15).join("\n");
  console.error(`${what} failed: npm ${args.join(" ")}\n${output || run.error}`);
  console.error("What to do: check that npm reaches its registry (npm ping), then run this again.");
  process.exit(1);
}

function isNodeNewEnough() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  return major > nodeMin[0] || (major === nodeMin[0] && minor >= nodeMin[1]);
}

function nodeBinary() {
  if (isNodeNewEnough()) return process.execPath;
  return join(
    root,
    "node_modules",
    "node",
    "bin",
    process.platform === "win32" ? "node.exe" : "node",
  );
}

function install() {
  const startedMs = Date.now();
  console.error("set-up: installing the locked dependencies (npm ci) …");
  npm(
    ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    "Installing the dependencies",
  );
  if (!isNodeNewEnough()) {
    console.error(`set-up: your Node is ${process.version}; fetching Node 24 into node_modules …`);
    npm(["rebuild", "node", "--ignore-scripts=false", "--loglevel=error"], "Fetching Node 24");
  }
  npm(["run", "bundle", "--workspace=libs/schema", "--loglevel=error"], "Bundling TypeBox");
  mkdirSync(dirname(stampFile), { recursive: true });
  writeFileSync(stampFile, lockHash());
  console.error(`set-up: dependencies ready in ${((Date.now() - startedMs) / 1000).toFixed(1)} s`);
}

if (Number(process.versions.node.split(".")[0]) < 20) {
  console.error(`Coxswain needs Node 20 or newer to start; this is ${process.version}.`);
  process.exit(1);
}
if (!isInstalled()) install();
if (!existsSync(nodeBinary()))
  npm(["rebuild", "node", "--ignore-scripts=false", "--loglevel=error"], "Fetching Node 24");

const [script, ...args] = process.argv.slice(2);
if (script === undefined) process.exit(0);
const cacheFolder =
  process.env.COXSWAIN_CACHE_DIR ||
  join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "coxswain");
const child = spawn(nodeBinary(), [join(root, script), ...args], {
  stdio: "inherit",
  // Modules are compiled once, for this process and those that it starts.
  env: { NODE_COMPILE_CACHE: join(cacheFolder, "compile-cache"), ...process.env },
});
// A signal of the terminal reaches the child by itself; one sent to this process alone is passed on.
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + 2));
