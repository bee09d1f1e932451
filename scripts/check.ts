/** The gate: types, lint and format, tidy rules. Runs all of them, then says which failed. */
import { spawnSync } from "node:child_process";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const bin = (name: string) => join(root, "node_modules/.bin", name);
const steps: readonly (readonly [string, string, readonly string[]])[] = [
  ["types", bin("tsc"), []],
  ["lint and format", bin("biome"), ["ci", "--colors=off"]],
  ["tidy", process.execPath, ["--test", "test/tidy.test.ts"]],
];

const failed = steps.filter(([name, command, args]) => {
  const startedMs = performance.now();
  const { status } = spawnSync(command, args, { cwd: root, stdio: "inherit" });
  console.log(
    `${status === 0 ? "ok " : "BAD"} ${name} (${((performance.now() - startedMs) / 1000).toFixed(1)} s)`,
  );
  return status !== 0;
});
process.exit(failed.length === 0 ? 0 : 1);
