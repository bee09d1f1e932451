/** PyTorch, where a Python has it: a reference that is not ours. */
import { ok } from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";

type Environment = Readonly<Record<string, string | undefined>>;

/** COXSWAIN_TORCH_PYTHON, or where `npm run bench -- train --install-peers` has put one. */
export function findTorch(environment: Environment): string | undefined {
  const peers = join(environment["COXSWAIN_CACHE_DIR"] ?? "", "peers");
  let installed: string[] = [];
  try {
    installed = readdirSync(peers).map((name) => join(peers, name, "bin/python"));
  } catch {
    // None was installed.
  }
  const named = environment["COXSWAIN_TORCH_PYTHON"];
  const candidates = named === undefined ? [...installed, "python3"] : [named];
  // Looked for, not imported: that takes seconds, and the script does it anyway.
  const look = "import importlib.util, sys; sys.exit(importlib.util.find_spec('torch') is None)";
  const hasTorch = (python: string) => spawnSync(python, ["-c", look]).status === 0;
  return candidates.find(hasTorch);
}

/** What a script prints as JSON that was given `input` as JSON. */
export function askTorch<Answer>(python: string, script: string, input: object): Answer {
  const options = { input: JSON.stringify(input), encoding: "utf8", maxBuffer: 2 ** 26 } as const;
  const { status, stdout, stderr } = spawnSync(python, ["-c", script], options);
  ok(status === 0, stderr);
  return JSON.parse(stdout) as Answer;
}
