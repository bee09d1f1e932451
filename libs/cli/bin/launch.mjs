// Runs a TypeScript program with a Node that can: the user's own, or the one in node_modules. Plain
// JavaScript without dependencies, since it runs under whatever Node (>= 20) the user has.
import { spawn } from "node:child_process";
import { homedir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

/** The first Node that runs TypeScript without a flag or a warning. */
export const nodeMin = "24.12";

const root = join(dirname(fileURLToPath(import.meta.url)), "../../..");
const [wantedMajor, wantedMinor] = nodeMin.split(".").map(Number);
const [major, minor] = process.versions.node.split(".").map(Number);

export const isNodeNewEnough =
  major > wantedMajor || (major === wantedMajor && minor >= wantedMinor);

/** The user's Node where it is new enough, else the one that the npm package `node` brings. */
export const nodeBinary = isNodeNewEnough
  ? process.execPath
  : join(root, "node_modules/node/bin", process.platform === "win32" ? "node.exe" : "node");

/** Runs `script` in place of this process: same terminal, same signals, same exit code. */
export function launch(script, args) {
  const cacheFolder =
    process.env.COXSWAIN_CACHE_DIR ||
    join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "coxswain");
  const child = spawn(nodeBinary, [script, ...args], {
    stdio: "inherit",
    // Modules are compiled once, for this process and those that it starts.
    env: { NODE_COMPILE_CACHE: join(cacheFolder, "compile-cache"), ...process.env },
  });
  // A signal of the terminal reaches the child by itself; one sent to this process alone is passed on.
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"])
    process.on(signal, () => child.kill(signal));
  child.on("exit", (code, signal) => process.exit(signal === null ? (code ?? 1) : 128 + 2));
}
