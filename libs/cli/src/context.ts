/** What every command has: where the API is, how to print, how to stop. */
import { resolve } from "node:path";
import { type PlatformFile, readPlatformFile } from "@coxswain/embedded";
import Table from "cli-table3";
import { ApiClient, ApiError, type Json } from "./io/api-client.ts";
import { pc } from "./render/colours.ts";
import { nearest } from "./render/nearest.ts";

export interface Terminal {
  readonly out: (text: string) => void;
  readonly err: (text: string) => void;
  readonly isTerminal: boolean;
  readonly nowMs: () => number;
}

export interface Context extends Terminal {
  readonly environment: Readonly<Record<string, string | undefined>>;
  readonly workingDir: string;
  /** Aborts at Ctrl-C. */
  readonly signal: AbortSignal;
}

/** Options that every command understands. */
export interface CommonOptions {
  readonly json?: boolean;
  readonly api?: string;
  readonly data?: string;
}

export const defaultDataDir = ".coxswain";

/** The nearest data folder upwards that holds a platform. */
export async function findPlatform(
  context: Context,
  data: string | undefined,
): Promise<PlatformFile | undefined> {
  if (data !== undefined) return readPlatformFile(resolve(context.workingDir, data));
  for (let folder = context.workingDir; ; folder = resolve(folder, "..")) {
    const found = await readPlatformFile(resolve(folder, defaultDataDir));
    if (found !== undefined) return found;
    if (folder === resolve(folder, "..")) return undefined;
  }
}

/** @throws ApiError `unreachable` when no platform is known */
export async function connectApi(context: Context, options: CommonOptions): Promise<ApiClient> {
  const url =
    options.api ??
    context.environment["COXSWAIN_API"] ??
    (await findPlatform(context, options.data))?.apiUrl;
  if (url === undefined) {
    throw new ApiError({
      code: "unreachable",
      status: 0,
      detail: "no platform runs here",
      fix: `Start one with \`cox up --detach\`, or name one with --api URL or COXSWAIN_API. If one has ended by itself, ${defaultDataDir}/logs/up.log says why.`,
    });
  }
  return new ApiClient(url);
}

/** A job by its id, or by its name when that names the newest of them. */
export async function findJob(api: ApiClient, given: string): Promise<Json> {
  try {
    return await api.get(`/v1/jobs/${encodeURIComponent(given)}`);
  } catch (error) {
    if (!(error instanceof ApiError) || error.problem.code !== "job-not-found") throw error;
    const { items } = await api.get("/v1/jobs?limit=200");
    const named = items.find((job: Json) => job.name === given);
    if (named !== undefined) return api.get(`/v1/jobs/${named.id}`);
    const near = nearest(
      given,
      items.flatMap(({ id, name }: Json) => [id, name] as string[]),
    );
    const hint = near.length > 0 ? `; did you mean ${near.join(" or ")}?` : "";
    const detail = `${error.problem.detail}${hint}`;
    throw new ApiError({ ...error.problem, detail }, { cause: error });
  }
}

export function table(
  head: readonly string[],
  rows: readonly (readonly (string | number)[])[],
): string {
  const none = "";
  const chars = Object.fromEntries(
    [
      "top",
      "top-mid",
      "top-left",
      "top-right",
      "bottom",
      "bottom-mid",
      "bottom-left",
      "bottom-right",
      "left",
      "left-mid",
      "mid",
      "mid-mid",
      "right",
      "right-mid",
    ].map((name) => [name, none]),
  );
  const made = new Table({
    head: head.map((text) => pc.bold(text)),
    chars: { ...chars, middle: "  " },
    style: { head: [], border: [], "padding-left": 0, "padding-right": 0 },
  });
  for (const row of rows) made.push(row.map(String));
  return made.toString();
}

/** Prints as JSON or for people. */
export function show(
  context: Terminal,
  options: CommonOptions,
  value: Json,
  text: () => string,
): void {
  context.out(options.json ? JSON.stringify(value, undefined, 2) : text());
}
