/**
 * Hashes of trained weights, by engine identity: what was true of an engine once stays true of it.
 * An identity names versions, settings and instruction set, so there may be many; those that are
 * known are in `weights.json`.
 */
import { execFile } from "node:child_process";
import { readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { promisify } from "node:util";
import { availableEngines, type EngineIdentity, engineEnvironment } from "@coxswain/engine";

/** By model and optimizer, as in "mlp, adam". */
export type Hashes = Readonly<Record<string, string>>;
/** By engine identity. */
export type Golden = Readonly<Record<string, Hashes>>;

const file = join(import.meta.dirname, "weights.json");
const outputBytesMax = 1024 * 1024;

/**
 * Under what an engine's hashes are kept: its identity, and where that names instructions instead of a
 * processor, the processor too, since its caches may decide bits as well.
 */
export function keyOf({ isa, text }: EngineIdentity, all: readonly EngineIdentity[]): string {
  if (isa === undefined) return text;
  const own = all.find((other) => other.name === "native" && other.isa === undefined && !other.xla)?.text;
  return `${text} on ${/cpu-\w+/.exec(own ?? "")?.[0] ?? "an unknown processor"}`;
}

/** In a process of its own: engines of one process would share TensorFlow.js. */
export async function hashesOf(
  { name, isa, xla }: Pick<EngineIdentity, "name" | "isa" | "xla">,
  cacheDir: string,
): Promise<Hashes> {
  const settings = { isa, xla };
  const args = [join(import.meta.dirname, "train.ts"), name, cacheDir, JSON.stringify(settings)];
  const env = { ...process.env, ...engineEnvironment(name, settings) };
  const run = promisify(execFile);
  const { stdout } = await run(process.execPath, args, { env, maxBuffer: outputBytesMax });
  return JSON.parse(stdout) as Hashes;
}

export async function readGolden(): Promise<Golden> {
  return JSON.parse(await readFile(file, "utf8")) as Golden;
}

/** Where known hashes and those of this machine differ, in words. */
export function differencesOf(known: Hashes, actual: Hashes): string[] {
  const names = [...new Set([...Object.keys(known), ...Object.keys(actual)])];
  const brief = (hash: string | undefined) => hash?.slice(0, 12) ?? "nothing";
  return names
    .filter((name) => known[name] !== actual[name])
    .map((name) => `${name}: ${brief(actual[name])}, known is ${brief(known[name])}`);
}

/**
 * Adds what is not known yet of this machine's engines.
 * @param replaces known entries that differ are written anew: their bits moved on purpose
 * @returns what was done, a line for each engine
 */
export async function writeGolden(cacheDir: string, replaces: boolean): Promise<string[]> {
  const golden: Record<string, Hashes> = { ...(await readGolden()) };
  const lines: string[] = [];
  const engines = await availableEngines({ cacheDir });
  for (const engine of engines) {
    const text = keyOf(engine, engines);
    const actual = await hashesOf(engine, cacheDir);
    const known = golden[text] ?? {};
    const moved = differencesOf(known, actual).filter((line) => !line.endsWith("known is nothing"));
    const isKept = moved.length > 0 && !replaces;
    if (!isKept) golden[text] = actual;
    const done = isKept ? `kept, though it differs: ${moved.join("; ")}` : "written";
    lines.push(`${text}: ${done}`);
  }
  const sorted = Object.fromEntries(Object.entries(golden).sort(([a], [b]) => (a < b ? -1 : 1)));
  await writeFile(file, `${JSON.stringify(sorted, undefined, 2)}\n`);
  return lines;
}
