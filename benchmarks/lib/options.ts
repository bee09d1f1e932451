/** Options of a benchmark: `--help` prints and ends, a wrong one ends with 2, Ctrl-C cleans up. */
import { type ParseArgsOptionsConfig, parseArgs } from "node:util";

export interface OptionHelp {
  /** Without a default value it is a switch. */
  readonly value?: string;
  readonly text: string;
}

export interface Options {
  readonly quick: boolean;
  text(name: string): string;
  has(name: string): boolean;
  /** @throws RangeError-like end of the process (2) when it is no number >= 0 */
  count(name: string): number;
  list(name: string): number[];
}

const quickHelp: Readonly<Record<string, OptionHelp>> = {
  quick: { text: "few repetitions: does it run, not how fast" },
  help: { text: "this text" },
};

export function readOptions(
  name: string,
  summary: string,
  known: Readonly<Record<string, OptionHelp>>,
): Options {
  const all = { ...known, ...quickHelp };
  const config: ParseArgsOptionsConfig = Object.fromEntries(
    Object.entries(all).map(([option, { value }]) => [
      option,
      { type: value === undefined ? "boolean" : "string" } as const,
    ]),
  );
  const given = parse(config);
  if (given["help"]) {
    const lines = Object.entries(all).map(
      ([option, { value, text }]) =>
        `  --${option.padEnd(18)} ${text}${value === undefined || value === "" ? "" : ` (default ${value})`}`,
    );
    console.log(`npm run bench -- ${name} [options]\n\n${summary}\n\n${lines.join("\n")}`);
    process.exit(0);
  }
  const text = (option: string) => String(given[option] ?? all[option]?.value ?? "");
  const numberOf = (option: string, word: string) => {
    const value = Number(word);
    if (word === "" || !Number.isFinite(value) || value < 0)
      wrong(`--${option}: "${word}" is no number`);
    return value;
  };
  return {
    quick: given["quick"] === true,
    text,
    has: (option) => given[option] === true,
    count: (option) => numberOf(option, text(option)),
    list: (option) =>
      text(option)
        .split(",")
        .map((word) => numberOf(option, word)),
  };
}

function parse(options: ParseArgsOptionsConfig): Record<string, unknown> {
  try {
    return parseArgs({ options }).values;
  } catch (error) {
    return wrong(error instanceof Error ? error.message : String(error));
  }
}

function wrong(sentence: string): never {
  console.error(`${sentence}\nRun it with --help for the options.`);
  process.exit(2);
}
