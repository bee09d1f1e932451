// Gets a fresh clone ready and runs a TypeScript program with the right Node. Plain JavaScript,
// since it starts under whatever Node (>= 20) the user has.
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { isNodeNewEnough, launch, nodeBinary } from "../libs/cli/bin/launch.mjs";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const stampFile = join(root, "node_modules", ".coxswain-setup");

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

function install() {
  const startedMs = Date.now();
  console.error("set-up: installing the locked dependencies (npm ci) …");
  npm(
    ["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"],
    "Installing the dependencies",
  );
  if (!isNodeNewEnough) {
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
if (!existsSync(nodeBinary))
  npm(["rebuild", "node", "--ignore-scripts=false", "--loglevel=error"], "Fetching Node 24");

const [script, ...args] = process.argv.slice(2);
if (script === undefined) process.exit(0);
launch(join(root, script), args);
