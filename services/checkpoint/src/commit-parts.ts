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
import type { Written } from "./decide/told-parts.ts";

/**
 * Reads every byte back. The same parts give the same manifest, byte for byte.
 *
 * @throws AppError `checkpoint-damaged`, `checkpoint-not-found`, `store-full`, `store-failed`
 */
export async function commitParts(
  store: Store,
  jobId: string,
  facts: CheckpointFacts,
  parts: readonly Written[],
): Promise<PayloadOf<"checkpoint.committed">> {
  const manifest: Manifest = {
    version: 1,
    ...facts,
    parts: parts.map(({ path, bytes, sha256 }) => ({ path, bytes, sha256 })),
  };
  await verifyParts(store, manifest);
  const text = new TextEncoder().encode(`${JSON.stringify(manifest, undefined, 1)}\n`);
  const sha256 = sha256Of(text);
  await store.write(storePaths.manifest(jobId, facts.step, sha256), [text]);
  const { step, generation, weightsSha256, final } = facts;
  const path = storePaths.checkpoint(jobId, step);
  const bytes = parts.reduce((sum, part) => sum + part.bytes, 0);
  // An older generation's part of the same step is borrowed as well: it would go as that one's.
  const own = `${path}/g${generation}-`;
  const borrowed = parts.map((part) => part.path).filter((part) => !part.startsWith(own));
  const others = borrowed.length === 0 ? {} : { borrowed };
  return { generation, step, path, bytes, sha256, weightsSha256, final, ...others };
}
