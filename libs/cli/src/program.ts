/** All commands, as one tree. Building it runs nothing. */
import { Command } from "commander";
import { addCheckpointCommands } from "./commands/checkpoints.ts";
import { addDatasetCommands } from "./commands/dataset.ts";
import { addEngineCommands } from "./commands/engine.ts";
import { addEventCommands } from "./commands/events.ts";
import { addJobCommands } from "./commands/jobs.ts";
import { addKubernetesCommands } from "./commands/kubernetes.ts";
import { addModelCommands } from "./commands/model.ts";
import { addPlatformCommands } from "./commands/platform.ts";
import { addQueueCommands, addWhyCommands } from "./commands/queues.ts";
import type { Context } from "./context.ts";

export function buildProgram(context: Context): Command {
  const program = new Command("cox")
    .description("Coxswain: exact, elastic training on machines that come and go.")
    .version("0.1.0")
    .showHelpAfterError("(run with --help for the options)")
    .configureOutput({
      writeOut: (text) => context.out(text.trimEnd()),
      writeErr: (text) => context.err(text.trimEnd()),
    })
    .exitOverride()
    .addHelpText(
      "after",
      "\nExit codes: 0 done, 1 failed, 2 wrong usage, 3 the job failed, 130 Ctrl-C.\nThe API is found by --api, COXSWAIN_API, or the nearest .coxswain folder.",
    );
  const add = (name: string, summary: string, examples: readonly string[]) =>
    program
      .command(name)
      .description(summary)
      .option("--json", "print JSON")
      .option("--api <url>", "address of the HTTP API")
      .option("--data <dir>", "data folder of a platform on this machine")
      .configureOutput({
        writeOut: (text) => context.out(text.trimEnd()),
        writeErr: (text) => context.err(text.trimEnd()),
      })
      .exitOverride()
      .addHelpText("after", `\nExamples:\n${examples.map((example) => `  ${example}`).join("\n")}`);
  addPlatformCommands(add, context);
  addEngineCommands(add, context);
  addJobCommands(add, context);
  addCheckpointCommands(add, context);
  addQueueCommands(add, context);
  addWhyCommands(add, context);
  addEventCommands(add, context);
  addModelCommands(add, context);
  addKubernetesCommands(add, context);
  addDatasetCommands(add, context);
  return program;
}
