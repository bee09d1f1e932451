#!/usr/bin/env node
// Starts `cox` with a Node that runs TypeScript: the user's own, or the one in node_modules.
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const package_ = dirname(dirname(fileURLToPath(import.meta.url)));
const [major, minor] = process.versions.node.split(".").map(Number);
const isNewEnough = major > 24 || (major === 24 && minor >= 12);
const brought = join(package_, "../../node_modules/node/bin/node");
if (!isNewEnough && !existsSync(brought)) {
  console.error(
    `cox needs Node 24.12 or newer; this is ${process.version}. Run \`npm run setup\` once: it brings one.`,
  );
  process.exit(1);
}
const cacheFolder =
  process.env.COXSWAIN_CACHE_DIR ||
  join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "coxswain");
const child = spawn(
  isNewEnough ? process.execPath : brought,
  [join(package_, "src/main.ts"), ...process.argv.slice(2)],
  {
    stdio: "inherit",
    // Modules are compiled once, for this process and those that it starts.
    env: { NODE_COMPILE_CACHE: join(cacheFolder, "compile-cache"), ...process.env },
  },
);
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"]) process.on(signal, () => child.kill(signal));
child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 130));
