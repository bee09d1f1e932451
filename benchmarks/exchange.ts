/** ms per exact all-reduce of one vector among 2 and 4 processes, beside gloo. */
import { type ChildProcess, fork } from "node:child_process";
import { join } from "node:path";
import { cacheFolder } from "@coxswain/embedded";
import { type CleanUp, runBenchmark } from "./lib/clean-up.ts";
import type { ToRank } from "./lib/exchange-rank.ts";
import { median, rounded, spread } from "./lib/numbers.ts";
import { readOptions } from "./lib/options.ts";
import { findPeer, type Peer, peerOptions } from "./lib/peer.ts";
import { printLastLine, printTable } from "./lib/report.ts";

const options = readOptions(
  "exchange",
  "Milliseconds for one exact all-reduce of float32 vectors among processes on this machine.",
  {
    megabytes: { value: "0.1,1,10,100", text: "sizes, in 1e6 bytes" },
    workers: { value: "2,4", text: "processes" },
    rounds: { value: "3", text: "interleaved series of ours and the peer's" },
    seconds: { value: "2", text: "time for one size in one series, about" },
    ...peerOptions,
  },
);
const sizes = options.quick ? [0.1, 1] : options.list("megabytes");
const workerCounts = options.list("workers");
const seriesCount = options.quick ? 1 : options.count("rounds");
const secondsPerSize = options.quick ? 0.5 : options.count("seconds");
const reductionsMax = 500;
const answerTimeoutMs = 120_000;

/** Processes that reduce together, for one number of workers. */
class Ranks {
  readonly #children: readonly ChildProcess[];

  constructor(count: number, cleanUp: CleanUp) {
    const entry = join(import.meta.dirname, "lib/exchange-rank.ts");
    this.#children = Array.from({ length: count }, () => fork(entry, { stdio: "inherit" }));
    cleanUp.add(() => this.stop());
  }

  async connect(): Promise<void> {
    const ranks = this.#children.length;
    const answers = await this.#ask((rank) => ({ kind: "start", rank, ranks }));
    const addresses = answers.map(({ address }) => address!);
    await this.#ask(() => ({ kind: "peers", addresses }));
  }

  /** Of the first rank, as the peer reports them. */
  async measure(megabytes: number): Promise<number[]> {
    const bytes = megabytes * 1e6;
    const trial = await this.#ask(() => ({ kind: "measure", bytes, rounds: 3 }));
    const onceMs = median(trial[0]!.ms!);
    const wanted = Math.floor((secondsPerSize * 1000) / onceMs);
    const rounds = Math.max(5, Math.min(reductionsMax, wanted));
    return (await this.#ask(() => ({ kind: "measure", bytes, rounds })))[0]!.ms!;
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

/** Medians of the series, by size. */
type Series = Map<number, number[]>;

async function measureAll(
  workers: number,
  peer: Peer | undefined,
  cleanUp: CleanUp,
): Promise<{ readonly ours: Series; readonly peers: Series }> {
  const ours: Series = new Map(sizes.map((size) => [size, []]));
  const peers: Series = new Map(sizes.map((size) => [size, []]));
  for (let series = 0; series < seriesCount; series += 1) {
    const ranks = new Ranks(workers, cleanUp);
    await ranks.connect();
    for (const size of sizes) ours.get(size)!.push(median(await ranks.measure(size)));
    await ranks.stop();
    if (peer === undefined) continue;
    for (const [size, ms] of await measurePeer(peer, workers)) peers.get(size)?.push(ms);
  }
  return { ours, peers };
}

const head = ["workers", "MB", "ours, ms", "gloo, ms", "ours / gloo"];

function rowOf(
  workers: number,
  megabytes: number,
  series: { readonly ours: readonly number[]; readonly peers: readonly number[] },
  peer: Peer | undefined,
) {
  const ms = median(series.ours);
  const peerMs = peer === undefined ? null : rounded(median(series.peers));
  return {
    transport: "tcp",
    addon: false,
    megabytes,
    workers,
    ms: rounded(ms),
    peer: peer === undefined ? null : `gloo (${peer.name})`,
    peerMs,
    ratio: peerMs === null ? null : rounded(ms / peerMs),
  };
}

await runBenchmark(async (cleanUp) => {
  const peer = await findPeer(options, process.env, cacheFolder(process.env));
  const rows: ReturnType<typeof rowOf>[] = [];
  const lines: (string | number)[][] = [];
  for (const workers of workerCounts) {
    const { ours, peers } = await measureAll(workers, peer, cleanUp);
    for (const size of sizes) {
      const series = { ours: ours.get(size)!, peers: peers.get(size)! };
      const row = rowOf(workers, size, series, peer);
      rows.push(row);
      const ratio = row.ratio?.toFixed(2) ?? "-";
      lines.push([workers, size, spread(series.ours, 2), spread(series.peers, 2), ratio]);
    }
  }
  printTable(head, lines);
  printLastLine({ benchmark: "exchange", rows });
});
