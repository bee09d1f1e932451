/** What every way of running a program needs of it: its data, its optimizer, its source. No model. */
import { readFile } from "node:fs/promises";
import { AppError, stepsOf } from "@coxswain/domain";
import type { Dataset, Optimizer, Program, ProgramContext } from "@coxswain/program";
import { loadProgram, openData, programError } from "./load-program.ts";
import type { CompileOptions } from "./port.ts";

export interface OpenedProgram {
  readonly program: Program;
  readonly data: Dataset;
  readonly optimizer: Optimizer;
  readonly source: Uint8Array;
  readonly context: ProgramContext;
}

/** @throws AppError `program-threw`, `program-invalid` or `invalid-spec` */
export async function openProgram(options: CompileOptions): Promise<OpenedProgram> {
  if (options.batchSize % options.shards !== 0)
    throw new AppError("invalid-spec", "batchSize is not a multiple of shards");
  const [program, source] = await Promise.all([
    loadProgram(options.programPath),
    readFile(options.programPath),
  ]);
  try {
    const data = await openData(program, options);
    const { parameters, seed } = options;
    const context = { parameters, seed, steps: stepsOf(options, data.train.samples) };
    const optimizer =
      typeof program.optimizer === "function" ? program.optimizer(context) : program.optimizer;
    return { program, data, optimizer, source, context };
  } catch (cause) {
    throw programError("opening the program", cause);
  }
}
