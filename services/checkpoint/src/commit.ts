/** Verifies the parts of a checkpoint and writes its manifest. Safe to run twice. */
import type { PayloadOf } from "@coxswain/events";
import {
  type CheckpointFacts,
  type Manifest,
  type Store,
  sha256Of,
  storePaths,
  verifyParts,
} from "@coxswain/store";
import type { Written } from "./decide/decide-commit.ts";

/** @throws AppError `checkpoint-damaged`, `checkpoint-not-found`, `store-full`, `store-failed` */
export async function commitParts(
  store: Store,
  jobId: string,
  parts: readonly Written[],
): Promise<PayloadOf<"checkpoint.committed">> {
  const facts = parts[0]!.manifest as unknown as CheckpointFacts;
  const manifest: Manifest = {
    version: 1,
    ...facts,
    parts: parts.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
  };
  await verifyParts(store, manifest);
  const path = storePaths.checkpoint(jobId, facts.step);
  const text = new TextEncoder().encode(`${JSON.stringify(manifest, undefined, 1)}\n`);
  await store.write(`${path}/manifest.json`, [text]);
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  return {
    generation: facts.generation,
    step: facts.step,
    path,
    bytes,
    sha256: sha256Of(text),
    weightsSha256: facts.weightsSha256,
    final: facts.final,
  };
}
