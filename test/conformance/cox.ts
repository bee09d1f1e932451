/** `cox` as a user runs it. */
import { spawn } from "node:child_process";
import { resolve } from "node:path";
import { createInterface } from "node:readline";
import type { FollowedEvent } from "@coxswain/cli";

const root = resolve(import.meta.dirname, "../..");

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
    readonly onEvent?: (event: FollowedEvent) => Promise<unknown> | unknown;
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
