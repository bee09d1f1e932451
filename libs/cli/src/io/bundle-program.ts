/** A program and what it imports as one ES module with a content hash; ours stay outside. */
import { createHash } from "node:crypto";
import { AppError, jobLimits } from "@coxswain/domain";
import { build } from "esbuild";

export interface Bundle {
  readonly sha256: string;
  readonly bytes: Uint8Array;
}

/** @throws AppError `program-invalid` with esbuild's own words, `too-large` */
export async function bundleProgram(path: string): Promise<Bundle> {
  const result = await build({
    entryPoints: [path],
    bundle: true,
    format: "esm",
    platform: "node",
    target: "node24",
    external: ["@coxswain/*", "@tensorflow/*", "node:*"],
    write: false,
    logLevel: "silent",
    // The same sources give the same bytes, wherever they lie.
    absWorkingDir: process.cwd(),
    legalComments: "none",
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
  // The entry's path stands in a comment; the hash shall not depend on it.
  const text = result.outputFiles[0]!.text.replaceAll(/^\/\/ .*\n/gm, "");
  const bytes = new TextEncoder().encode(text);
  if (bytes.length > jobLimits.bundleBytesMax)
    throw new AppError(
      "too-large",
      `the bundle has ${bytes.length} bytes, at most ${jobLimits.bundleBytesMax} fit`,
    );
  return { sha256: createHash("sha256").update(bytes).digest("hex"), bytes };
}
