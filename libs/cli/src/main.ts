/** `cox`: reads the environment, prints, and turns errors into exit codes. */
import { AppError } from "@coxswain/domain";
import { CommanderError } from "commander";
import { JobFailed } from "./commands/events.ts";
import { ApiError } from "./io/api-client.ts";
import { buildProgram } from "./program.ts";
import { pc } from "./render/colours.ts";

const interrupted = new AbortController();
for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const)
  process.on(signal, () => interrupted.abort());
// A reader that has seen enough (`cox events JOB | head`) is no error.
process.stdout.on("error", () => process.exit(0));

const program = buildProgram({
  out: (text) => process.stdout.write(`${text}\n`),
  err: (text) => process.stderr.write(`${text}\n`),
  isTerminal: process.stdout.isTTY === true,
  nowMs: Date.now,
  environment: process.env,
  workingDir: process.cwd(),
  signal: interrupted.signal,
});

function exitCodeOf(error: unknown): number {
  if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
  if (error instanceof JobFailed) {
    console.error(pc.red(error.message));
    return 3;
  }
  if (error instanceof ApiError) {
    const { code, detail, fix, violations } = error.problem;
    console.error(`${pc.red(code)}: ${detail}`);
    for (const violation of violations ?? [])
      console.error(`  ${violation.pointer || "/"}: ${violation.detail}`);
    if (fix) console.error(pc.dim(fix));
    return 1;
  }
  if (error instanceof AppError) {
    console.error(`${pc.red(error.code)}: ${error.sentence}\n${pc.dim(error.fix)}`);
    return 1;
  }
  console.error(error);
  return 1;
}

try {
  await program.parseAsync();
  process.exit(interrupted.signal.aborted && program.args[0] !== "up" ? 130 : 0);
} catch (error) {
  process.exit(interrupted.signal.aborted ? 130 : exitCodeOf(error));
}
