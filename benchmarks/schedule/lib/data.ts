/** Where published data lies, and where raw results go. */
import { existsSync } from "node:fs";
import { mkdir, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import type { OptionHelp, Options } from "../../lib/options.ts";

const besideTheProject = resolve(import.meta.dirname, "../../../../shared/benchmarks");

export const dataOptions = {
  data: {
    value: "",
    text: "folder of the published traces (default ../shared/benchmarks, where it is there)",
  },
  out: { value: "", text: "folder for the raw results, as JSON, and the plots" },
} as const satisfies Record<string, OptionHelp>;

/** The folder `name` of the published data; undefined when it is not on this machine. */
export function dataFolder(options: Options, name: string): string | undefined {
  const given = options.text("data");
  const folder = join(given === "" ? besideTheProject : resolve(given), name);
  if (existsSync(folder)) return folder;
  if (given === "") return undefined;
  console.error(`There is no folder ${folder}; docs/benchmarks.md says where the data comes from.`);
  process.exit(2);
}

/** The same, for a benchmark that is nothing without it. Ends the process where it is not there. */
export function requireDataFolder(options: Options, name: string): string {
  const folder = dataFolder(options, name);
  if (folder !== undefined) return folder;
  console.error(
    "The published traces are not here: name their folder with --data (docs/benchmarks.md).",
  );
  process.exit(2);
}

/** Writes a file into `--out`, where one was named. */
export async function writeResult(options: Options, file: string, content: unknown): Promise<void> {
  const out = options.text("out");
  if (out === "") return;
  await mkdir(out, { recursive: true });
  const text = typeof content === "string" ? content : `${JSON.stringify(content, null, 1)}\n`;
  await writeFile(join(out, file), text);
}
