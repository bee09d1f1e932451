import { ok } from "node:assert/strict";
import { execFile } from "node:child_process";
import { join } from "node:path";
import { test } from "node:test";
import { promisify } from "node:util";
import { temporaryFolder } from "./testing.ts";

const run = promisify(execFile);
const source = join(import.meta.dirname, "../native/tree-sum-check.cc");
const hasCompiler = await run("g++", ["--version"]).then(
  () => true,
  () => false,
);

// The compiler may make one rounding or two of `a * b + c`: that must not show.
for (const flags of [["-O0"], ["-O2", "-ffp-contract=off"], ["-O3", "-ffp-contract=fast"]])
  test(`products added up in registers have the bits of one element after the other: ${flags.join(" ")}`, {
    skip: !hasCompiler && "there is no g++",
  }, async (t) => {
    const program = join(await temporaryFolder(t), "check");
    await run("g++", ["-std=c++17", "-Wno-psabi", ...flags, source, "-o", program]);
    const lines = (await run(program)).stdout.trim().split("\n");
    ok(lines.length >= 1);
    for (const line of lines) ok(line.endsWith(": 0 differ"), line);
  });
