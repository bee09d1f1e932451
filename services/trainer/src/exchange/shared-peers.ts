/**
 * Who of the peers is on this machine and shares memory. Each tells the other where its memory is;
 * who has mapped it says so, and is sent words instead of numbers from then on. Whatever fails, the
 * numbers go through the connection.
 */
import { randomFillSync } from "node:crypto";
import { readFile, readlink } from "node:fs/promises";
import type { SharedMemory, SharedRange } from "@coxswain/shared-memory";
import { type Areas, type Shared, sharedOf, sharedRange, windowRange } from "./memory.ts";
import type { ControlMessage } from "./peers.ts";

export interface SharedPeersPorts {
  readonly memory: SharedMemory;
  readonly areas: Areas;
  /** Processes of the same place can see each other; from `placeOfProcess`. */
  readonly place: string;
  readonly tell: (workerId: string, message: ControlMessage) => void;
  readonly log: (sentence: string, fields: object) => void;
}

interface Window {
  readonly index: number;
  readonly shared: Shared;
  readonly from: SharedRange;
}

/** Machine and process namespace: whoever has the same can look each other up by pid. */
export async function placeOfProcess(): Promise<string> {
  const [boot, namespace] = await Promise.all([
    readFile("/proc/sys/kernel/random/boot_id", "utf8"),
    readlink("/proc/self/ns/pid"),
  ]);
  return `${boot.trim()} ${namespace}`;
}

export class SharedPeers {
  readonly #ports: SharedPeersPorts;
  readonly #own: SharedRange;
  readonly #token: readonly number[];
  readonly #free: number[];
  readonly #windows = new Map<string, Window>();
  readonly #mappedBy = new Set<string>();
  /** Gone, but perhaps still read in the present generation. */
  readonly #lost = new Set<string>();

  /** @throws Error when the own memory cannot be shared; it must not be in use yet */
  constructor(ports: SharedPeersPorts) {
    const { memory, areas } = ports;
    this.#ports = ports;
    const range = sharedRange(areas);
    this.#own = memory.share(range);
    const { token } = sharedOf(areas, range);
    token.set(randomFillSync(new Int32Array(token.length)));
    this.#token = [...token];
    this.#free = Array.from({ length: areas.windows }, (_, index) => index).reverse();
  }

  /** The memory of this peer, where it is mapped here. */
  windowOf(workerId: string): Shared | undefined {
    return this.#windows.get(workerId)?.shared;
  }

  /** The window that it is in. */
  windowIndexOf(workerId: string): number | undefined {
    return this.#windows.get(workerId)?.index;
  }

  /** Whether this peer has mapped our memory. */
  isMappedBy(workerId: string): boolean {
    return this.#mappedBy.has(workerId);
  }

  onConnected(workerId: string): void {
    const { place, tell } = this.#ports;
    this.#mappedBy.delete(workerId);
    tell(workerId, { kind: "memory", place, ...this.#own, token: this.#token });
  }

  onLost(workerId: string): void {
    this.#mappedBy.delete(workerId);
    if (this.#windows.has(workerId)) this.#lost.add(workerId);
  }

  /** A new generation began: nobody reads what the lost had written. */
  forgetLost(): void {
    for (const workerId of this.#lost) this.#release(workerId);
    this.#lost.clear();
  }

  #release(workerId: string): void {
    const window = this.#windows.get(workerId);
    if (window === undefined) return;
    this.#windows.delete(workerId);
    this.#free.push(window.index);
    this.#ports.memory.unmap(windowRange(this.#ports.areas, window.index));
  }

  /** True when the message was for here. */
  onControl(from: string, message: ControlMessage): boolean {
    if (message.kind === "memory-mapped") this.#mappedBy.add(from);
    else if (message.kind === "memory") this.#onMemory(from, message);
    else return false;
    return true;
  }

  #onMemory(from: string, message: ControlMessage): void {
    const { place, tell, log } = this.#ports;
    if (message["place"] !== place) return;
    const range = { pid: Number(message["pid"]), fd: Number(message["fd"]) };
    try {
      this.#map(from, range, message["token"] as readonly number[]);
      tell(from, { kind: "memory-mapped" });
    } catch (error) {
      log("a peer's memory cannot be mapped", { peer: from, err: error });
    }
  }

  /** @throws Error when it cannot be, with the reason */
  #map(from: string, range: SharedRange, token: readonly number[]): void {
    const { memory, areas } = this.#ports;
    this.#lost.delete(from);
    const present = this.#windows.get(from)?.from;
    if (present?.pid === range.pid && present.fd === range.fd) return;
    this.#release(from);
    const index = this.#free.pop();
    if (index === undefined) throw new Error("there is no window left");
    const window = windowRange(areas, index);
    try {
      memory.map(window, range);
    } catch (error) {
      this.#free.push(index);
      throw error;
    }
    const shared = sharedOf(areas, window);
    this.#windows.set(from, { index, shared, from: range });
    if (!shared.token.every((value, i) => value === token[i])) {
      this.#release(from);
      throw new Error("it is another process's memory");
    }
  }
}
