#!/usr/bin/env node
// Starts `cox` with a Node that runs TypeScript.
import { existsSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { launch, nodeBinary, nodeMin } from "./launch.mjs";

if (!existsSync(nodeBinary)) {
  console.error(
    `cox needs Node ${nodeMin} or newer; this is ${process.version}. Run \`npm run setup\` once: it brings one.`,
  );
  process.exit(1);
}
launch(join(dirname(fileURLToPath(import.meta.url)), "../src/main.ts"), process.argv.slice(2));
