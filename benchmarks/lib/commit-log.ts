/**
 * When workers committed which step: each appends a line to the file in COXSWAIN_COMMIT_LOG. One
 * machine, one wall clock, so the times of several workers can be compared.
 */
import { open } from "node:fs/promises";
import { setTimeout as delay } from "node:timers/promises";

export interface Commit {
  readonly worker: string;
  readonly step: number;
  readonly atMs: number;
}

const pollMs = 10;

export class CommitLog {
  readonly #path: string;
  readonly #commits: Commit[] = [];
  #offset = 0;
  #rest = "";

  constructor(path: string) {
    this.#path = path;
  }

  /** All commits up to now, in the order of the file. */
  async read(): Promise<readonly Commit[]> {
    const file = await open(this.#path, "r").catch(() => undefined);
    if (file === undefined) return this.#commits;
    try {
      const { size } = await file.stat();
      const buffer = Buffer.alloc(size - this.#offset);
      const { bytesRead } = await file.read(buffer, 0, buffer.length, this.#offset);
      this.#offset += bytesRead;
      const lines = (this.#rest + buffer.toString("utf8", 0, bytesRead)).split("\n");
      this.#rest = lines.pop() ?? "";
      for (const line of lines) this.#commits.push(JSON.parse(line) as Commit);
    } finally {
      await file.close();
    }
    return this.#commits;
  }

  /** The first commit from index `from` on that fits. @throws Error after `timeoutMs` */
  async waitFor(
    fits: (commit: Commit) => boolean,
    { from = 0, timeoutMs = 60_000 }: { readonly from?: number; readonly timeoutMs?: number } = {},
  ): Promise<Commit> {
    const deadlineMs = performance.now() + timeoutMs;
    for (let seen = from; ; ) {
      const commits = await this.read();
      for (; seen < commits.length; seen += 1) if (fits(commits[seen]!)) return commits[seen]!;
      if (performance.now() > deadlineMs)
        throw new Error(`no such commit within ${timeoutMs / 1000} s`);
      await delay(pollMs);
    }
  }
}
