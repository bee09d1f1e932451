/** Brings what the platform needs beside the npm packages: a nats-server, and the native engine. */
import { parseArgs } from "node:util";
import { AppError } from "@coxswain/domain";
import { setUp } from "./lib/set-up.ts";

const { values } = parseArgs({
  options: {
    "no-native": { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
if (values.help) {
  console.log(
    "npm run setup [-- --no-native]\n\nBrings a nats-server and, where it can be had, the native engine, into the user's cache.\nA second run finds everything there.",
  );
  process.exit(0);
}
try {
  const ready = await setUp({
    environment: process.env,
    native: !values["no-native"],
    onLine: (line) => console.log(line),
  });
  console.log(`ready in ${(ready.ms / 1000).toFixed(1)} s`);
} catch (error) {
  console.error(error instanceof AppError ? `${error.message}\nWhat to do: ${error.fix}` : error);
  process.exit(1);
}
