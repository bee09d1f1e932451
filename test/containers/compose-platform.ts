/** The platform of `docker-compose.yml`, under a project name of its own. */
import type { TestContext } from "node:test";
import { freePort } from "@coxswain/embedded";
import { docker } from "./docker.ts";

/** Long enough for a busy machine to pull, build and start everything. */
const waitSecondsMax = 120;

export interface ComposePlatform {
  readonly apiUrl: string;
  compose(...args: string[]): Promise<string>;
  /** Ids of a service's containers, ended ones too. */
  containersOf(service: string): Promise<string[]>;
}

export async function startCompose(
  t: TestContext,
  options: {
    readonly trainers: number;
    /** Beside `docker-compose.yml`, which the first one is. */
    readonly files?: readonly string[];
    readonly environment: Readonly<Record<string, string>>;
  },
): Promise<ComposePlatform> {
  const port = await freePort();
  const environment = { ...options.environment, COXSWAIN_PORT: String(port) };
  const project = `coxswain-test-${process.pid}`;
  const files = ["docker-compose.yml", ...(options.files ?? [])].flatMap((file) => ["-f", file]);
  const compose = (...args: string[]) =>
    docker(["compose", ...files, "--project-name", project, ...args], environment);
  t.after(() => compose("down", "--volumes", "--timeout", "5"));
  await compose("build", "--quiet");
  const scale = `trainer=${options.trainers}`;
  const wait = ["--wait", "--wait-timeout", String(waitSecondsMax)];
  try {
    await compose("up", "--detach", "--scale", scale, ...wait);
  } catch (error) {
    t.diagnostic(await compose("logs", "--tail=20"));
    throw error;
  }
  return {
    apiUrl: `http://127.0.0.1:${port}`,
    compose,
    containersOf: async (service) =>
      (await compose("ps", "--all", "--quiet", service)).split("\n").filter(Boolean),
  };
}
