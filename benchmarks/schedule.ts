/** `npm run bench -- schedule NAME`: the scheduler's decisions on published data, in virtual time. */
import { readdir } from "node:fs/promises";
import { join } from "node:path";

const folder = join(import.meta.dirname, "schedule");
const names = (await readdir(folder))
  .filter((file) => file.endsWith(".ts"))
  .map((file) => file.slice(0, -3))
  .sort();
const [name, ...rest] = process.argv.slice(2);

if (name === undefined || !names.includes(name)) {
  const isHelp = name === "--help";
  const text = `npm run bench -- schedule NAME [options]\n\n  NAME is one of ${names.join(", ")}; NAME --help lists its options.`;
  if (isHelp) console.log(text);
  else
    console.error(name === undefined ? text : `There is no schedule benchmark "${name}".\n${text}`);
  process.exit(isHelp ? 0 : 2);
}
process.argv.splice(2, Number.POSITIVE_INFINITY, ...rest);
await import(join(folder, `${name}.ts`));
