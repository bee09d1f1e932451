/** The platform of `docker-compose.yml`, under a project name of its own. */
import { spawn } from "node:child_process";
import { createInterface } from "node:readline";
import type { TestContext } from "node:test";
import type { FollowedEvent } from "@coxswain/cli";
import { freePort } from "@coxswain/embedded";
import { docker, root } from "./docker.ts";

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
    readonly environment: Readonly<Record<string, string>>;
  },
): Promise<ComposePlatform> {
  const port = await freePort();
  const environment = { ...options.environment, COXSWAIN_PORT: String(port) };
  const project = `coxswain-test-${process.pid}`;
  const compose = (...args: string[]) =>
    docker(["compose", "--project-name", project, ...args], environment);
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

export interface CoxRun {
  readonly exitCode: number | null;
  readonly events: readonly FollowedEvent[];
  readonly stderr: string;
}

/** `cox submit FILE --follow` as a user runs it; `onEvent` sees each event as it is printed. */
export async function coxSubmit(
  apiUrl: string,
  options: {
    readonly file: string;
    readonly settings: readonly string[];
    readonly onEvent?: (event: FollowedEvent) => Promise<void> | void;
  },
): Promise<CoxRun> {
  const settings = options.settings.flatMap((setting) => ["--set", setting]);
  const child = spawn(
    process.execPath,
    ["libs/cli/src/main.ts", "submit", options.file, "--follow", "--json", ...settings],
    {
      cwd: root,
      stdio: ["ignore", "pipe", "pipe"],
      env: { ...process.env, COXSWAIN_API: apiUrl },
    },
  );
  const exited = new Promise<number | null>((resolve) => child.once("exit", resolve));
  const complaints: Buffer[] = [];
  child.stderr.on("data", (chunk: Buffer) => complaints.push(chunk));
  const events: FollowedEvent[] = [];
  for await (const line of createInterface({ input: child.stdout })) {
    // The job comes first, over many lines; each event has one.
    if (!line.startsWith('{"')) continue;
    const event = JSON.parse(line) as FollowedEvent;
    events.push(event);
    await options.onEvent?.(event);
  }
  return { exitCode: await exited, events, stderr: Buffer.concat(complaints).toString() };
}
