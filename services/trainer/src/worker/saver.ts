/** The thread that writes checkpoints, as the control thread sees it. */
import { MessageChannel, Worker } from "node:worker_threads";
import { AppError, reviveError } from "@coxswain/domain";
import { partRange } from "@coxswain/store";
import type { Areas } from "../exchange/memory.ts";
import type { Compute } from "./compute.ts";
import type {
  Saved,
  SaveReply,
  SaveRequest,
  SaverEnds,
  SaveThreadOptions,
} from "./save-messages.ts";

export interface SaverPorts {
  readonly storeUrl: string;
  readonly areas: Areas;
  readonly compute: Pick<Compute, "snapshot">;
  readonly onFailed: (error: AppError, step: number) => void;
}

/** Copies that may wait for the store, but for the first one. */
const waitingBytesMax = 512 * 1024 * 1024;

interface Waiting {
  readonly bytes: number;
  readonly resolve: (saved: Saved) => void;
  readonly reject: (error: AppError) => void;
  readonly onTrouble: (error: AppError) => void;
}

export interface SaveOptions extends Omit<SaveRequest, "id"> {
  readonly from: number;
  readonly to: number;
  /** Said once, when it is tried again. */
  readonly onTrouble: (error: AppError) => void;
}

export class Saver {
  readonly #ports: SaverPorts;
  readonly #channel = new MessageChannel();
  readonly #copied = new SharedArrayBuffer(4);
  readonly #pausedMs = new SharedArrayBuffer(8);
  readonly #waiting = new Map<number, Waiting>();
  #thread: Worker | undefined;
  #nextId = 1;

  constructor(ports: SaverPorts) {
    this.#ports = ports;
  }

  /** For the compute thread: `snapshots` moves there. */
  get ends(): SaverEnds {
    const { port1: snapshots } = this.#channel;
    return { snapshots, copied: this.#copied, pausedMs: this.#pausedMs };
  }

  /** Milliseconds that computing has waited for copies since the worker started. */
  get pausedMs(): number {
    return new Float64Array(this.#pausedMs)[0]!;
  }

  /**
   * Starts the thread, so that the first checkpoint does not wait for it.
   *
   * @param parts of a checkpoint, as it looks now: memory for one is made ready
   */
  start(parts = 1): void {
    if (this.#thread !== undefined) return;
    const { storeUrl, areas, onFailed } = this.#ports;
    const { port2: snapshots } = this.#channel;
    const { parameterFloats, slotCount } = areas.layout;
    const partFloats = partRange(parameterFloats * (1 + slotCount), 0, parts).to;
    const warmFloats = parts === 1 ? [partFloats] : [partFloats, parameterFloats];
    const workerData: SaveThreadOptions = {
      ...{ storeUrl, areas, snapshots, warmFloats },
      copied: this.#copied,
    };
    const file = new URL("./save-thread.ts", import.meta.url);
    const thread = new Worker(file, { workerData, transferList: [snapshots] });
    thread.on("error", (cause) =>
      onFailed(new AppError("worker-failed", cause.message, { cause }), -1),
    );
    thread.on("message", (message: SaveReply) => this.#receive(message));
    this.#thread = thread;
  }

  /** Whether a copy of so many floats may wait: false when the store is slower than they come. */
  hasRoom(floats: number): boolean {
    const waiting = [...this.#waiting.values()].reduce((sum, { bytes }) => sum + bytes, 0);
    return waiting === 0 || waiting + this.#bytesOf(floats) <= waitingBytesMax;
  }

  #bytesOf(floats: number): number {
    return (floats + this.#ports.areas.layout.parameterFloats) * 4;
  }

  /**
   * Saves floats `from <= i < to` of the state as it is at this step's boundary: call it there.
   *
   * @throws AppError `store-full`, `store-failed`
   */
  save({ from, to, onTrouble, ...request }: SaveOptions): Promise<Saved> {
    const id = this.#nextId;
    this.#nextId += 1;
    this.start();
    this.#ports.compute.snapshot({ id, from, to });
    this.#thread!.postMessage({ id, ...request } satisfies SaveRequest);
    return new Promise((resolve, reject) => {
      this.#waiting.set(id, { bytes: this.#bytesOf(to - from), resolve, reject, onTrouble });
    });
  }

  async stop(): Promise<void> {
    await this.#thread?.terminate();
  }

  #receive(message: SaveReply): void {
    const waiting = this.#waiting.get(message.id);
    if (message.kind === "failed" && !message.isLast)
      return waiting?.onTrouble(reviveError(message, "store-failed"));
    this.#waiting.delete(message.id);
    if (message.kind === "saved") waiting?.resolve(message.saved);
    else waiting?.reject(reviveError(message, "store-failed"));
  }
}
