/** Loads a program's bundle: one ES module, whose imports of ours resolve to this installation. */
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { AppError } from "@coxswain/domain";
import { type Dataset, isInMemory, isProgram, type Program } from "@coxswain/program";
import type { CompileOptions } from "./port.ts";

/** A bundle lies in a data folder, far from any node_modules; these packages are the platform's. */
const ours = /^@(coxswain|tensorflow)\//;
let isHooked = false;

function resolveOurs(): void {
  if (isHooked) return;
  isHooked = true;
  registerHooks({
    resolve: (specifier, context, nextResolve) =>
      nextResolve(
        specifier,
        ours.test(specifier) ? { ...context, parentURL: import.meta.url } : context,
      ),
  });
}

/** @throws AppError `program-threw` when the module throws, `program-invalid` for another default export */
export async function loadProgram(path: string): Promise<Program> {
  resolveOurs();
  let module: { default?: unknown };
  try {
    module = await import(pathToFileURL(path).href);
  } catch (cause) {
    throw programError("loading the program", cause);
  }
  if (!isProgram(module.default)) {
    throw new AppError(
      "program-invalid",
      "the program's default export does not come from defineProgram()",
    );
  }
  return module.default;
}

/** The program's data, in memory or as somebody else reads it. @throws AppError `program-threw` */
export async function openData(program: Program, options: CompileOptions): Promise<Dataset> {
  if (options.openData !== undefined) return await options.openData();
  const data = await program.data(options.data);
  if (isInMemory(data)) return data;
  throw new AppError("program-threw", `${options.data} is not in memory: it needs a loader`);
}

/** The program's own error as an expected failure, with the place in the user's code. */
export function programError(what: string, cause: unknown): AppError {
  if (cause instanceof AppError) return cause;
  const error = cause instanceof Error ? cause : new Error(String(cause));
  const place = /\n\s+at .*/.exec(error.stack ?? "")?.[0].trim() ?? "";
  return new AppError(
    "program-threw",
    `${what}: ${error.name}: ${error.message}${place ? ` (${place})` : ""}`,
    {
      cause: error,
      details: { stack: error.stack ?? "" },
    },
  );
}
