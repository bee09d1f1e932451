/** The program of docs/program.md, as it stands there. */
import { equal, ok } from "node:assert/strict";
import { readFileSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import { test } from "node:test";
import { decideSubmission } from "@coxswain/domain/submission";
import { parse } from "yaml";
import { gradientOf, parametersOf, temporaryFolder } from "./testing.ts";
import { openWasmEngine } from "./wasm-engine.ts";

const text = readFileSync(resolve(import.meta.dirname, "../../../docs/program.md"), "utf8");

/** The first indented block behind a word. */
function blockBehind(word: string): string {
  const lines = text.slice(text.indexOf(word)).split("\n").slice(1);
  const from = lines.findIndex((line) => line.startsWith("    "));
  const length = lines.slice(from).findIndex((line) => line !== "" && !line.startsWith("    "));
  return lines
    .slice(from, from + length)
    .map((line) => line.slice(4))
    .join("\n");
}

test("the documented program trains, and its job file is valid", async (t) => {
  const job = parse(blockBehind("`circle.yaml`, beside it"));
  // As `cox submit` does, once it has uploaded the program.
  job.spec.program = `sha256:${"0".repeat(64)}`;
  const { kind } = decideSubmission(job);
  equal(kind, "valid");
  const programPath = join(await temporaryFolder(t), "circle.ts");
  await writeFile(programPath, blockBehind("two files; nothing"));
  const engine = await openWasmEngine();
  const options = { batchSize: 64, shards: 8, seed: 1, parameters: {} };
  const program = await engine.compile({ ...options, programPath, data: "4000" });
  equal(program.samplesTrain, 4000);
  ok(gradientOf(program, parametersOf(program), 0, 0).some((value) => value !== 0));
});
