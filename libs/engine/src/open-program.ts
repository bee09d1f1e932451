/** What every way of running a program needs of it: its data, its optimizer, its source. No model. */
import { readFile } from "node:fs/promises";
import { AppError } from "@coxswain/domain";
import type { Dataset, Optimizer, Program } from "@coxswain/program";
import { loadProgram, openData, programError } from "./load-program.ts";
import type { CompileOptions } from "./port.ts";

export interface OpenedProgram {
  readonly program: Program;
  readonly data: Dataset;
  readonly optimizer: Optimizer;
  readonly source: Uint8Array;
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
    const context = { parameters: options.parameters, seed: options.seed };
    const data = await openData(program, options);
    const optimizer =
      typeof program.optimizer === "function" ? program.optimizer(context) : program.optimizer;
    return { program, data, optimizer, source };
  } catch (cause) {
    throw programError("opening the program", cause);
  }
}
