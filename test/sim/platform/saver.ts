/** What the saver's thread does, on a simulated disk: what lies there already is not written again. */
import type { Clock } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";
import { type CheckpointPart, readManifest, type Store, sha256Of } from "@coxswain/store";
import type { Saved } from "../../../services/trainer/src/worker/save-messages.ts";
import type { SaveOptions, Saver } from "../../../services/trainer/src/worker/saver.ts";

const retryMs = 2000;

/** @param stateNow the state at this step's boundary, and the hash of its weights */
export function simulatedSaver(
  { store, clock }: { readonly store: Store; readonly clock: Clock },
  stateNow: () => { readonly floats: Float32Array; readonly weightsSha256: string },
): Saver {
  const save = async (options: SaveOptions): Promise<Saved> => {
    const { floats, weightsSha256 } = stateNow();
    const part = new Uint8Array(floats.slice(options.from, options.to).buffer);
    const same = (await partsOf(store, options.newest)).find(
      ({ bytes, sha256 }) => bytes === part.length && sha256 === sha256Of(part),
    );
    if (same !== undefined) return { ...same, weightsSha256, isReused: true };
    for (let tries = 1; ; tries += 1) {
      try {
        const written = await store.write(options.path, [part]);
        return { path: options.path, ...written, weightsSha256, isReused: false };
      } catch (error) {
        if (!(error instanceof AppError) || !error.retryable || tries >= options.triesMax)
          throw error;
        if (tries === 1) options.onTrouble(error);
      }
      await clock.delay(retryMs);
    }
  };
  return {
    ...{ pausedMs: 0, save },
    start: () => undefined,
    hasRoom: () => true,
  } as unknown as Saver;
}

async function partsOf(
  store: Store,
  newest: SaveOptions["newest"],
): Promise<readonly CheckpointPart[]> {
  if (newest === undefined) return [];
  return await readManifest(store, newest).then(
    ({ parts }) => parts,
    (error: unknown) => {
      if (error instanceof AppError) return [];
      throw error;
    },
  );
}
