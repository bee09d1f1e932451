/** Builds our addon with the user's compiler, and sees that it opens TensorFlow's library. */
import { execFile } from "node:child_process";
import { rename, rm } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { promisify } from "node:util";
import { AppError } from "@coxswain/domain";
import type { NativePlace } from "./native-place.ts";

const run = promisify(execFile);
const buildTimeoutMs = 300_000;

/**
 * The addon is not linked to TensorFlow: it opens the library itself, so the functions that it calls
 * are looked up when they are first called (`-z lazy`).
 */
export async function buildAddon(
  place: NativePlace,
  flags: readonly string[] = ["-O2"],
): Promise<void> {
  const require = createRequire(import.meta.url);
  const nodeHeaders = join(dirname(require.resolve("node-api-headers/package.json")), "include");
  const temporary = place.addon.replace(/\.node$/, `-${process.pid}.node`);
  const args = [
    "-std=c++17",
    ...flags,
    // Bits are what is written, not what a compiler makes of it: tree-sum.h.
    "-ffp-contract=off",
    "-Wno-psabi",
    "-fPIC",
    "-shared",
    "-Wall",
    "-Wextra",
    "-DNAPI_VERSION=8",
    `-I${nodeHeaders}`,
    `-I${join(place.tensorflow, "include")}`,
    place.addonSource,
    "-o",
    temporary,
    "-Wl,-z,lazy",
    "-ldl",
  ];
  try {
    await compile(args);
    await probe({ ...place, addon: temporary });
    await rename(temporary, place.addon);
  } finally {
    await rm(temporary, { force: true });
  }
}

async function compile(args: readonly string[]): Promise<void> {
  await run("g++", args, { timeout: buildTimeoutMs }).catch((cause: NodeJS.ErrnoException) => {
    if (cause.code !== "ENOENT") throw cause;
    const sentence = "a C++ compiler (g++) is needed to build the native engine";
    throw new AppError("engine-unavailable", sentence, { cause });
  });
}

/** In a process of its own: what cannot be opened shall not end this one. */
async function probe(place: NativePlace): Promise<void> {
  const program = `
    const [addon, place] = process.argv.slice(1);
    const { openTensorflow } = await import(${JSON.stringify(new URL("./native-binding.ts", import.meta.url).href)});
    const { createRequire } = await import("node:module");
    openTensorflow(createRequire(import.meta.url)(addon), JSON.parse(place));
  `;
  const args = ["--input-type=module", "-e", program, place.addon, JSON.stringify(place)];
  await run(process.execPath, args, { timeout: buildTimeoutMs });
}
