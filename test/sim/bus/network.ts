/** How a client's requests reach the simulated server, and how they do not. */
import type { Random } from "../lib/random.ts";
import type { BusServer } from "./server.ts";

/** Time that belongs to the network, not to a process: it goes on when a process dies. */
export interface NetworkClock {
  nowMs(): number;
  later(delayMs: number, act: () => void): void;
}

export interface NetworkFaults {
  /** Of all requests: the server never hears of it. */
  lost: number;
  /** Of all requests: done, but the answer is lost. */
  unanswered: number;
  /** Of all messages: so much later than usual, in ms at most; it may be overtaken. */
  slowMs: number;
}

const reconnectMs = 250;

/** What one reader is sent comes in order, as through one connection. */
export class Order {
  lastMs = 0;
  readonly underway: (() => void)[] = [];
}

/** The server and everything between it and its clients. */
export class Network {
  readonly server: BusServer;
  readonly clock: NetworkClock;
  readonly random: Random;
  readonly faults: NetworkFaults = { lost: 0, unanswered: 0, slowMs: 0 };
  readonly links = new Set<Link>();
  /** Whose request the server is serving. */
  speaker: Link | undefined;
  #isUp = true;
  /** While the server has no leader, what arrives waits. */
  #waiting: (() => void)[] | undefined;

  constructor(options: { server: BusServer; clock: NetworkClock; random: Random }) {
    this.server = options.server;
    this.clock = options.clock;
    this.random = options.random;
  }

  get isUp(): boolean {
    return this.#isUp;
  }

  latencyMs(): number {
    const isSlow = this.random() < 0.05;
    return 0.2 + this.random() * (isSlow ? 20 + this.faults.slowMs : 1);
  }

  /** The server dies; what it has stored stays. */
  stop(): void {
    this.#isUp = false;
    for (const link of this.links) link.update();
  }

  start(): void {
    this.#isUp = true;
    for (const link of this.links) link.update();
  }

  /** Nobody leads: connections stay, nothing is answered. */
  pause(): void {
    this.#waiting ??= [];
  }

  resume(): void {
    const waiting = this.#waiting ?? [];
    this.#waiting = undefined;
    for (const serve of waiting) serve();
  }

  whenLed(serve: () => void): void {
    if (this.#waiting === undefined) serve();
    else this.#waiting.push(serve);
  }
}

/** One client's connection: it breaks and comes back, as the client library lets it. */
export class Link {
  readonly network: Network;
  readonly #reconnectListeners = new Set<() => void>();
  readonly #statusListeners = new Set<(status: "connected" | "disconnected") => void>();
  /** How its process gets to hear anything: a stopped one later, a dead one not at all. */
  gate: (act: () => void) => void = (act) => act();
  #isCut = false;
  #isClosed = false;
  #isConnected = true;
  /** Sent while there was no connection: goes out when it is back, if anybody still waits or not. */
  readonly #buffered: (() => void)[] = [];

  constructor(network: Network) {
    this.network = network;
    network.links.add(this);
    this.#isConnected = network.isUp;
  }

  get isConnected(): boolean {
    return this.#isConnected && !this.#isClosed;
  }

  get isClosed(): boolean {
    return this.#isClosed;
  }

  get isCut(): boolean {
    return this.#isCut;
  }

  /** Nothing comes through between this client and the server. */
  set isCut(isCut: boolean) {
    this.#isCut = isCut;
    this.update();
  }

  onReconnect(listener: () => void): () => void {
    this.#reconnectListeners.add(listener);
    return () => this.#reconnectListeners.delete(listener);
  }

  onStatus(listener: (status: "connected" | "disconnected") => void): () => void {
    this.#statusListeners.add(listener);
    return () => this.#statusListeners.delete(listener);
  }

  /** Its process is gone, or it was closed: nobody hears anything through it any more. */
  close(): void {
    this.#isClosed = true;
    this.network.links.delete(this);
  }

  /** Brings the connection to what the network allows. */
  update(): void {
    const { network } = this;
    const canBe = network.isUp && !this.#isCut;
    if (this.#isClosed || canBe === this.#isConnected) return;
    if (!canBe) {
      this.#isConnected = false;
      this.#tell("disconnected");
      return;
    }
    network.clock.later(network.random() * reconnectMs, () => {
      if (this.#isClosed || this.#isConnected || !network.isUp || this.#isCut) return;
      this.#isConnected = true;
      for (const send of this.#buffered.splice(0)) send();
      this.#tell("connected");
    });
  }

  #tell(status: "connected" | "disconnected"): void {
    this.gate(() => {
      if (status === "connected") for (const listener of [...this.#reconnectListeners]) listener();
      for (const listener of [...this.#statusListeners]) listener(status);
    });
  }

  /** @throws Error after `timeoutMs`: whether it was done is unknown then */
  request<Result>(serve: (server: BusServer) => Result, timeoutMs: number): Promise<Result> {
    const { network } = this;
    const { clock, faults, random } = network;
    return new Promise((resolve, reject) => {
      let isOver = false;
      const finish = (act: () => void) => {
        if (isOver || this.#isClosed) return;
        isOver = true;
        this.gate(act);
      };
      clock.later(timeoutMs, () => finish(() => reject(new Error("TIMEOUT"))));
      const answer = (act: () => void) => {
        if (random() < faults.unanswered || !this.isConnected) return;
        clock.later(network.latencyMs(), () => this.isConnected && finish(act));
      };
      const arrive = () => {
        if (!network.isUp || (this.#isCut && !this.#isConnected)) return;
        network.whenLed(() => {
          network.speaker = this;
          try {
            const result = serve(network.server);
            answer(() => resolve(result));
          } catch (error) {
            answer(() => reject(error));
          } finally {
            network.speaker = undefined;
          }
        });
      };
      const send = () => {
        if (random() < faults.lost) return;
        clock.later(network.latencyMs(), arrive);
      };
      if (this.isConnected) send();
      else this.#buffered.push(send);
    });
  }

  /** A message of the server to this client, behind those before it. */
  push(order: Order, receive: () => void): void {
    const { network } = this;
    const nowMs = network.clock.nowMs();
    const atMs = Math.max(order.lastMs, nowMs + network.latencyMs());
    order.lastMs = atMs;
    order.underway.push(receive);
    network.clock.later(atMs - nowMs, () => {
      // The first one underway, not this one: a real clock rounds, and may ring for the next one first.
      const first = order.underway.shift();
      if (this.isConnected && first !== undefined) this.gate(first);
    });
  }
}
