/** Adds the hashes of trained weights of this machine's engines to those that are known: `npm run golden`. */
import { parseArgs } from "node:util";
import { writeGolden } from "../test/golden/weights.ts";
import { setUp } from "./lib/set-up.ts";

const { values } = parseArgs({
  options: {
    replace: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(
    "npm run golden [-- --replace]\n\nTrains small models with every optimizer on this machine's engines and adds their hashes to\ntest/golden/weights.json. --replace: also where known ones differ, since bits moved on purpose.",
  );
  process.exit(0);
}
const onLine = (line: string) => console.log(line);
const { cacheDir } = await setUp({ environment: process.env, native: true, onLine });
for (const line of await writeGolden(cacheDir, values.replace)) console.log(line);
