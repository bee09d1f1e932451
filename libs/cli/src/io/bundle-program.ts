/** A program and what it imports as one ES module with a content hash; ours stay outside. */
import { createHash } from "node:crypto";
import { dirname, resolve } from "node:path";
import { AppError, jobLimits } from "@coxswain/domain";
import { build } from "esbuild";

export interface Bundle {
  readonly sha256: string;
  readonly bytes: Uint8Array;
}

/** @throws AppError `program-invalid` with esbuild's own words, `too-large` */
export async function bundleProgram(path: string): Promise<Bundle> {
  const result = await build({
    entryPoints: [resolve(path)],
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    external: ["@coxswain/*", "@tensorflow/*", "node:*"],
    write: false,
    logLevel: "silent",
    // Comments name files from here: the same sources give the same bytes, wherever they lie.
    absWorkingDir: dirname(resolve(path)),
    legalComments: "none",
    // So that errors name the lines that the user wrote.
    sourcemap: "inline",
    sourcesContent: false,
  }).catch(
    (cause: {
      readonly errors?: readonly {
        readonly text: string;
        readonly location?: { readonly file: string; readonly line: number } | null;
      }[];
    }) => {
      const words = (cause.errors ?? [])
        .map(({ text, location }) =>
          location ? `${location.file}:${location.line}: ${text}` : text,
        )
        .join("; ");
      throw new AppError("program-invalid", words || String(cause), { cause });
    },
  );
  const bytes = result.outputFiles[0]!.contents;
  if (bytes.length > jobLimits.bundleBytesMax)
    throw new AppError(
      "too-large",
      `the bundle has ${bytes.length} bytes, at most ${jobLimits.bundleBytesMax} fit`,
    );
  return { sha256: createHash("sha256").update(bytes).digest("hex"), bytes };
}
