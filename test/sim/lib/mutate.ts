/**
 * Breaks one expression of the product while it is loaded, to see whether the simulation notices.
 * The product itself knows nothing of it.
 */
import { readFileSync } from "node:fs";
import { registerHooks } from "node:module";
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";

export interface Mutation {
  /** What is wrong then, as a sentence. */
  readonly name: string;
  readonly file: string;
  readonly from: string;
  readonly to: string;
}

const root = resolve(import.meta.dirname, "../../..");

/** @throws Error when the expression does not stand in its file exactly once */
export function mutate({ name, file, from, to }: Mutation, source: string): string {
  const parts = source.split(from);
  if (parts.length !== 2)
    throw new Error(`mutation "${name}": ${file} has its expression ${parts.length - 1} times`);
  return parts.join(to);
}

/** Every module of this thread that is loaded from now on is loaded with the mutation. */
export function installMutation(mutation: Mutation): void {
  const path = resolve(root, mutation.file);
  const url = pathToFileURL(path).href;
  mutate(mutation, readFileSync(path, "utf8"));
  registerHooks({
    load(loaded, context, next) {
      const result = next(loaded, context);
      if (loaded !== url) return result;
      return { ...result, source: mutate(mutation, String(result.source)) };
    },
  });
}
