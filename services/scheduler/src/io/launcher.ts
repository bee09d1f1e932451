/**
 * Launchers bring the workers that jobs shall have into being. The agents' launcher writes, per
 * node, the complete list of workers into the bucket `assignments`; the node's agent does the rest.
 */
import type { Bus, WantedWorker } from "@coxswain/bus";
import { AppError, type Job } from "@coxswain/domain";
import type { Nodes } from "./nodes.ts";

/** Where workers run: the nodes, and whoever starts workers on them. */
export interface Machines {
  readonly nodes: Nodes;
  /** Before it, no node is known to be there or to be gone. */
  readonly ready: Promise<unknown>;
  /** For one holder of the lease; `epoch` fences its writes. */
  launcher(epoch: number): Launcher;
}

export interface Launcher {
  /** Makes this the complete set of workers, per node. Safe to repeat. @throws AppError `stale-epoch` */
  apply(
    wanted: ReadonlyMap<string, readonly WantedWorker[]>,
    jobs: ReadonlyMap<string, Job>,
  ): Promise<void>;
}

const attemptsMax = 5;
const none: readonly WantedWorker[] = [];

export function buildAgentLauncher(bus: Bus, epoch: number): Launcher {
  const bucket = bus.bucket("assignments");
  /** Lists as they were written: one that is the same object needs no look. */
  const written = new Map<string, { readonly list: object; readonly text: string }>();
  const write = async (nodeId: string, workers: readonly WantedWorker[]) => {
    const known = written.get(nodeId);
    if (known?.list === workers) return;
    const text = JSON.stringify(workers);
    if (known?.text === text) return void written.set(nodeId, { list: workers, text });
    for (let attempt = 0; attempt < attemptsMax; attempt += 1) {
      const entry = await bucket.get(nodeId);
      if (entry !== undefined && entry.value.epoch > epoch)
        throw new AppError(
          "stale-epoch",
          `epoch ${entry.value.epoch} has taken over from ${epoch}`,
        );
      const record = { epoch, workers };
      const isWritten = await (entry === undefined
        ? bucket.create(nodeId, record)
        : bucket.update(nodeId, record, entry.revision)
      ).then(
        () => true,
        (error: unknown) => {
          if (error instanceof AppError && error.code === "conflict") return false;
          throw error;
        },
      );
      if (isWritten) {
        written.set(nodeId, { list: workers, text });
        return;
      }
    }
    throw new AppError("conflict", `the list of node "${nodeId}" changes too fast`);
  };
  return {
    apply: async (wanted) => {
      const nodes = new Set([...wanted.keys(), ...written.keys()]);
      if (written.size === 0) for (const { key } of await bucket.entries()) nodes.add(key);
      await Promise.all([...nodes].map((nodeId) => write(nodeId, wanted.get(nodeId) ?? none)));
    },
  };
}
