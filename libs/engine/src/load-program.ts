/** Loads a program's bundle: one ES module, whose imports of ours resolve to this installation. */
import { registerHooks } from "node:module";
import { pathToFileURL } from "node:url";
import { AppError } from "@coxswain/domain";
import { isProgram, type Program } from "@coxswain/program";

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
