/** ms per all-reduce of one vector among 2 and 4 processes, exact and fast, beside gloo. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import type { AppError } from "@coxswain/domain";
import { cacheFolder } from "@coxswain/embedded";
import { installSharedMemory } from "@coxswain/shared-memory";
import {
  assignShards,
  type ExchangeMode,
  piecesOf,
} from "../services/trainer/src/decide/shards.ts";
import { type CleanUp, runBenchmark } from "./lib/clean-up.ts";
import type { ToRank, Transport } from "./lib/exchange-rank.ts";
import { median, rounded, spread } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { findPeer, type Peer, peerOptions } from "./lib/peer.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions(
  "exchange",
  "Milliseconds for one all-reduce of float32 vectors among processes on this machine.",
  {
    megabytes: { value: "0.1,1,10,100", text: "sizes, in 1e6 bytes" },
    workers: { value: "2,4", text: "processes" },
    exchange: {
      value: "exact,fast",
      text: "as in a job file; where both send the same, one is measured",
    },
    shards: {
      value: "0",
      text: "the more, the more pieces; 0: the workers, rounded up to a power of two",
    },
    rounds: { value: "3", text: "interleaved series of ours and the peer's" },
    seconds: { value: "2", text: "time for one size in one series, about" },
    ...peerOptions,
  },
);
const sizes = options.quick ? [0.1, 1] : options.list("megabytes");
const workerCounts = options.list("workers");
const seriesCount = options.quick ? 1 : options.count("rounds");
const secondsPerSize = options.quick ? 0.5 : options.count("seconds");
/** Until the runtime has compiled what runs in each round; a training is past that after a second. */
const warmUpMs = 500;
const reductionsMax = 500;
const cacheDir = cacheFolder(process.env);
let transports: readonly Transport[] = [
  { name: "shared-memory", addon: true },
  { name: "unix", addon: true },
  { name: "unix", addon: false },
  { name: "tcp", addon: true },
  { name: "tcp", addon: false },
  { name: "tls", addon: true },
  { name: "mixed", addon: true },
];
const modes = options.text("exchange").split(",") as readonly ExchangeMode[];
const shardsOf = (workers: number) => options.count("shards") || 2 ** Math.ceil(Math.log2(workers));
const piecesFor = (workers: number, mode: ExchangeMode) =>
  assignShards(shardsOf(workers), workers).flatMap((range) => piecesOf(range, mode)).length;
const answerTimeoutMs = 120_000;

/** Processes that reduce together, for one number of workers. */
class Ranks {
  readonly #children: readonly ChildProcess[];

  constructor(count: number, cleanUp: CleanUp) {
    const entry = join(import.meta.dirname, "lib/exchange-rank.ts");
    this.#children = Array.from({ length: count }, () => fork(entry, { stdio: "inherit" }));
    cleanUp.add(() => this.stop());
  }

  /** Of the first rank, as the peer reports them. */
  async measure(megabytes: number, { transport, mode }: Way): Promise<number[]> {
    const bytes = megabytes * 1e6;
    const ranks = this.#children.length;
    const opened = await this.#ask((rank) => ({
      ...{ kind: "open", rank, ranks, bytes, transport, mode, shards: shardsOf(ranks), cacheDir },
    }));
    const addresses = opened.map(({ address }) => address!);
    await this.#ask(() => ({ kind: "connect", addresses }));
    const trial = await this.#ask(() => ({ kind: "measure", warmUps: 3, rounds: 3 }));
    const onceMs = median(trial[0]!.ms!);
    const roundsIn = (ms: number) => Math.min(reductionsMax, Math.floor(ms / onceMs));
    const warmUps = Math.max(3, roundsIn(warmUpMs));
    const rounds = Math.max(5, roundsIn(secondsPerSize * 1000));
    const measured = await this.#ask(() => ({ kind: "measure", warmUps, rounds }));
    await this.#ask(() => ({ kind: "close" }));
    return measured[0]!.ms!;
  }

  #ask(messageFor: (rank: number) => ToRank): Promise<Answer[]> {
    return Promise.all(
      this.#children.map((child, rank) => {
        const answer = answerOf(child);
        child.send(messageFor(rank));
        return answer;
      }),
    );
  }

  async stop(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL");
  }
}

interface Answer {
  readonly address?: string;
  readonly ms?: number[];
}

function answerOf(child: ChildProcess): Promise<Answer> {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error("a rank does not answer")), answerTimeoutMs);
    const onExit = () => reject(new Error("a rank ended"));
    child.once("exit", onExit);
    child.once("message", (answer: Answer) => {
      clearTimeout(timer);
      child.off("exit", onExit);
      resolve(answer);
    });
  });
}

async function measurePeer(peer: Peer, workers: number): Promise<ReadonlyMap<number, number>> {
  const args = ["--mb", ...sizes.map(String), "--seconds", String(secondsPerSize)];
  const [answer] = await peer.run("torch_allreduce.py", workers, args);
  const bySize = answer?.["sizes_mb"] as Readonly<Record<string, { readonly median_ms: number }>>;
  return new Map(
    Object.entries(bySize).map(([size, { median_ms }]) => [Number(size), median_ms] as const),
  );
}

interface Way {
  readonly transport: Transport;
  readonly mode: ExchangeMode;
}

/** Medians of the series, by size. */
type Series = Map<number, number[]>;
interface AllSeries {
  readonly ours: ReadonlyMap<Way, Series>;
  readonly peer: Series;
}

/** Two machines with one worker each are not mixed; who has one piece anyway need not be fast. */
const waysFor = (workers: number): Way[] =>
  transports
    .filter(({ name }) => name !== "mixed" || (workers > 2 && workers % 2 === 0))
    .flatMap((transport) => modes.map((mode) => ({ transport, mode })))
    .filter(({ mode }, _, ways) => mode === "exact" || !hasSame(workers, ways));
const hasSame = (workers: number, ways: readonly Way[]) =>
  ways.some(({ mode }) => mode === "exact") && piecesFor(workers, "exact") === workers;

async function measureAll(
  workers: number,
  peer: Peer | undefined,
  cleanUp: CleanUp,
): Promise<AllSeries> {
  const empty = (): Series => new Map(sizes.map((size) => [size, []]));
  const ours = new Map(waysFor(workers).map((way) => [way, empty()]));
  const all: AllSeries = { ours, peer: empty() };
  for (let series = 0; series < seriesCount; series += 1) {
    const ranks = new Ranks(workers, cleanUp);
    for (const size of sizes)
      for (const [way, series] of ours)
        series.get(size)!.push(median(await ranks.measure(size, way)));
    await ranks.stop();
    if (peer === undefined) continue;
    for (const [size, ms] of await measurePeer(peer, workers)) all.peer.get(size)?.push(ms);
  }
  return all;
}

const head = [
  ...["workers", "MB", "transport", "addon", "exchange", "pieces"],
  ...["ours, ms", "gloo, ms", "ours / gloo"],
];

function rowOf(
  place: Way & { readonly workers: number; readonly megabytes: number },
  ours: readonly number[],
  peers: readonly number[],
  peer: Peer | undefined,
) {
  const ms = median(ours);
  const peerMs = peer === undefined ? null : rounded(median(peers));
  return {
    transport: place.transport.name,
    addon: place.transport.addon,
    megabytes: place.megabytes,
    workers: place.workers,
    exchange: place.mode,
    pieces: piecesFor(place.workers, place.mode),
    ms: rounded(ms),
    peer: peer === undefined ? null : `gloo (${peer.name})`,
    peerMs,
    ratio: peerMs === null ? null : rounded(ms / peerMs),
  };
}

await runBenchmark(async (cleanUp) => {
  const peer = await findPeer(options, process.env, cacheDir);
  await installSharedMemory(cacheDir).catch((error: AppError) => {
    console.log(`what needs the addon is left out: ${error.message}`);
    transports = transports.filter(({ addon }) => !addon);
  });
  const rows: ReturnType<typeof rowOf>[] = [];
  const lines: (string | number)[][] = [];
  for (const workers of workerCounts) {
    const all = await measureAll(workers, peer, cleanUp);
    for (const megabytes of sizes) {
      const peers = all.peer.get(megabytes)!;
      for (const [way, series] of all.ours) {
        const ours = series.get(megabytes)!;
        const row = rowOf({ workers, megabytes, ...way }, ours, peers, peer);
        rows.push(row);
        const ratio = row.ratio?.toFixed(2) ?? "-";
        const { name, addon } = way.transport;
        const place = [workers, megabytes, name, addon ? "yes" : "no", way.mode, row.pieces];
        lines.push([...place, spread(ours, 2), spread(peers, 2), ratio]);
      }
    }
  }
  printTable(head, lines);
  printLastLine({ benchmark: "exchange", rows });
});
