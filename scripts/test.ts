/**
 * Runs the tests with what they need: `npm test [-- PATTERN …]`. Without a pattern all but the longer
 * ones: those of the simulation, which `npm run test:sim` runs, and test/conformance.
 */
import { spawn } from "node:child_process";
import { availableParallelism } from "node:os";
import { AppError } from "@coxswain/domain";
import { cacheFolder } from "@coxswain/embedded";
import { setUp } from "./lib/set-up.ts";

/** Of a test with its subtests: a whole conformance suite trains five jobs. */
const testTimeoutMs = 300_000;
const patterns = process.argv.slice(2);
const all = [
  "libs/**/*.test.ts",
  "services/**/*.test.ts",
  "benchmarks/**/*.test.ts",
  "test/deploy/**/*.test.ts",
  "test/golden/**/*.test.ts",
  "test/contract/**/*.test.ts",
  "test/sim/bus/contract.test.ts",
  "test/sim/scenarios.test.ts",
  "test/e2e/**/*.test.ts",
];

try {
  const ready = await setUp({
    environment: process.env,
    native: false,
    onLine: (line) => console.error(line),
  });
  const args = [
    "--test",
    `--test-timeout=${testTimeoutMs}`,
    "--test-force-exit",
    `--test-concurrency=${Math.min(4, availableParallelism())}`,
    ...(patterns.length > 0 ? patterns : all),
  ];
  const child = spawn(process.execPath, args, {
    stdio: "inherit",
    env: {
      ...process.env,
      NATS_SERVER_BIN: ready.natsBinary,
      COXSWAIN_CACHE_DIR: cacheFolder(process.env),
    },
  });
  for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => child.kill(signal));
  child.on("exit", (code) => process.exit(code ?? 1));
} catch (error) {
  console.error(error instanceof AppError ? `${error.message}\nWhat to do: ${error.fix}` : error);
  process.exit(1);
}
