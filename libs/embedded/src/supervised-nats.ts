/**
 * Keeps a nats-server running on one port. A stream that could not be written, for want of space,
 * takes nothing more until its server starts again; so once there is room, it is.
 */
import { statfs } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as delay } from "node:timers/promises";
import { type NatsServer, startNatsServer } from "./nats-server.ts";

export interface SupervisedNatsOptions {
  readonly binary: string;
  /** The platform's data folder. */
  readonly dataDir: string;
  readonly onEvent?: (sentence: string) => void;
  /** How often the server is asked whether it can store. Default 5 s. */
  readonly lookEveryMs?: number;
  /** Before it is started once more, doubled each time up to 5 s. Default 200 ms. */
  readonly againMs?: number;
}

const lookEveryMsDefault = 5000;
/** With less room the next write would fail again. */
const roomBytesMin = 8 * 1024 * 1024;
const againMsDefault = 200;
const againMsMax = 5000;

export class SupervisedNats {
  readonly #options: SupervisedNatsOptions;
  readonly #stop = new AbortController();
  #server: NatsServer | undefined;
  #starting: Promise<void> = Promise.resolve();

  constructor(options: SupervisedNatsOptions) {
    this.#options = options;
  }

  get url(): string {
    return this.#server!.url;
  }
  get pid(): number | undefined {
    return this.#server?.pid;
  }

  /** @throws AppError `port-in-use`, `setup-failed` */
  async start(port: number): Promise<void> {
    const { binary, dataDir } = this.#options;
    const server = await startNatsServer({ binary, dataDir: join(dataDir, "nats"), port });
    this.#server = server;
    const ended = new AbortController();
    void this.#watch(server, AbortSignal.any([ended.signal, this.#stop.signal]));
    void server.ended.then(() => {
      ended.abort();
      this.#starting = this.#startAgain(server.port);
    });
  }

  /** For as long as it takes: its port may be taken for a while, and a busy machine is slow. */
  async #startAgain(port: number): Promise<void> {
    const { onEvent, againMs = againMsDefault } = this.#options;
    const { signal } = this.#stop;
    if (!signal.aborted) onEvent?.("nats-server ended; it is started again");
    for (let pauseMs = againMs; !signal.aborted; pauseMs = Math.min(againMsMax, 2 * pauseMs)) {
      try {
        return await this.start(port);
      } catch (error) {
        onEvent?.(`nats-server does not start, it is tried again: ${error}`);
      }
      await delay(pauseMs, undefined, { signal }).catch(() => undefined);
    }
  }

  async #watch(server: NatsServer, signal: AbortSignal): Promise<void> {
    const { dataDir, onEvent, lookEveryMs = lookEveryMsDefault } = this.#options;
    let isTold = false;
    while (!signal.aborted) {
      await delay(lookEveryMs, undefined, { signal, ref: false }).catch(() => undefined);
      if (signal.aborted) return;
      const error = await server.writeError();
      if (error === undefined) continue;
      if (!isTold) onEvent?.(`the event log cannot be written: ${error}`);
      isTold = true;
      const { bavail, bsize } = await statfs(dataDir);
      if (bavail * bsize >= roomBytesMin) return server.stop();
    }
  }

  expectEnd(): void {
    this.#stop.abort();
  }

  async kill(): Promise<void> {
    await this.#server?.kill();
  }

  async stop(): Promise<void> {
    this.expectEnd();
    await this.#starting;
    await this.#server?.stop();
  }
}
