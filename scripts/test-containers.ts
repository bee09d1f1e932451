/** Runs the tests on real containers: `npm run test:containers [-- --start-engine] [PATTERN …]`. */
import { type ChildProcess, spawn } from "node:child_process";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { AppError } from "@coxswain/domain";
import { type DockerEngine, isDockerReachable, startDockerEngine } from "./lib/docker-engine.ts";
import { type SetUp, setUp } from "./lib/set-up.ts";
import { ensureBaseImages } from "./lib/stand-in-images.ts";

const help = `npm run test:containers [-- --start-engine] [PATTERN …]

  Runs test/containers on the Docker engine that \`docker info\` reaches; without one they are skipped,
  with REQUIRE_DOCKER=1 they fail.

  --only NAME     of the tests, those whose name matches
  --start-engine  where none answers, install Debian's (root only) and run one for these tests; where
                  that cannot be, say why; its images stay in the user's cache (1 GB)
  --help`;

const testTimeoutMs = 600_000;
const { values: options, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    only: { type: "string", default: "" },
    "start-engine": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (options.help) {
  console.log(help);
  process.exit(0);
}
const onLine = (line: string) => console.error(line);

async function findEngine(cacheDir: string): Promise<DockerEngine | undefined> {
  if (await isDockerReachable(process.env))
    return { environment: process.env, stop: async () => undefined };
  if (!options["start-engine"]) return undefined;
  try {
    return await startDockerEngine({
      folder: join(cacheDir, "docker"),
      environment: process.env,
      onLine,
    });
  } catch (error) {
    if (!(error instanceof AppError)) throw error;
    onLine(error.message);
    return undefined;
  }
}

let tests: ChildProcess | undefined;
let isInterrupted = false;
for (const signal of ["SIGINT", "SIGTERM"] as const)
  process.on(signal, () => {
    isInterrupted = true;
    tests?.kill(signal);
  });

function runTests(environment: NodeJS.ProcessEnv): Promise<number> {
  const args = [
    "--test",
    `--test-timeout=${testTimeoutMs}`,
    "--test-force-exit",
    "--test-concurrency=1",
    ...(options.only === "" ? [] : [`--test-name-pattern=${options.only}`]),
    ...(positionals.length > 0 ? positionals : ["test/containers/**/*.test.ts"]),
  ];
  const child = spawn(process.execPath, args, { stdio: "inherit", env: environment });
  tests = child;
  return new Promise((resolve) => child.once("exit", (code) => resolve(code ?? 1)));
}

async function testOn(engine: DockerEngine | undefined, ready: SetUp): Promise<number> {
  const environment = {
    ...process.env,
    ...engine?.environment,
    NATS_SERVER_BIN: ready.natsBinary,
    // The tests end what they start; the reaper's image is one more that a registry must give.
    TESTCONTAINERS_RYUK_DISABLED: "true",
    TESTCONTAINERS_HOST_OVERRIDE: "127.0.0.1",
  };
  if (engine === undefined) return runTests(environment);
  await ensureBaseImages({ ...ready, environment, onLine });
  return isInterrupted ? 130 : runTests({ ...environment, REQUIRE_DOCKER: "1" });
}

async function main(): Promise<number> {
  const ready = await setUp({ environment: process.env, native: false, onLine });
  const engine = await findEngine(ready.cacheDir);
  try {
    return await testOn(engine, ready);
  } finally {
    await engine?.stop();
  }
}

try {
  process.exit(await main());
} catch (error) {
  console.error(error instanceof AppError ? `${error.message}\nWhat to do: ${error.fix}` : error);
  process.exit(1);
}
