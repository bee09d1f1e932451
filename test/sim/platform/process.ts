/** A simulated process: its time, its connection to the bus, and how it stops and dies. */
import type { Bus, Clock } from "@coxswain/bus";
import type { Link, Network } from "../bus/network.ts";
import { connectSimulated } from "../bus/start.ts";
import type { Stage } from "../lib/stage.ts";

/** Where the simulated wall clocks start, Unix ms. */
export const epochMs = 1_700_000_000_000;

/**
 * Nothing of a dead process goes on: no wait of it ends, no answer reaches it, and what it still
 * sends reaches nobody. So its code stands for ever at the await where it died.
 */
export class SimProcess {
  readonly stage: Stage;
  readonly name: string;
  readonly bus: Bus;
  readonly link: Link;
  readonly clock: Clock;
  /** Aborts when it shall stop in good order. */
  readonly stop = new AbortController();
  readonly #parked: (() => void)[] = [];
  /** It dies at the end of so many more awaits. */
  #awaitsLeft = Number.POSITIVE_INFINITY;
  #onDead: () => void = () => undefined;
  /** Its wall clock against the true time. */
  skewMs = 0;
  isDead = false;
  isPaused = false;

  constructor(stage: Stage, network: Network, name: string) {
    this.stage = stage;
    this.name = name;
    this.clock = {
      nowMs: () => stage.nowMs,
      wallMs: () => epochMs + Math.floor(stage.nowMs + this.skewMs),
      delay: (ms, signal) => this.#delay(ms, signal),
    };
    const { bus, link } = connectSimulated(network, this.clock);
    this.bus = bus;
    this.link = link;
    link.gate = (act) => this.act(act);
  }

  /** What is done when it has died. */
  onDead(act: () => void): void {
    this.#onDead = act;
  }

  /** Goes on when this process lives and runs: the end of one of its awaits. */
  act(action: () => void): void {
    if (this.isDead) return;
    if (this.isPaused) {
      this.#parked.push(action);
      return;
    }
    this.#awaitsLeft -= 1;
    if (this.#awaitsLeft < 0) this.kill("crash at an await");
    else action();
  }

  dieAfter(awaits: number): void {
    this.#awaitsLeft = awaits;
  }

  kill(how: string): void {
    if (this.isDead) return;
    this.isDead = true;
    this.link.close();
    this.stage.note(`${this.name} is gone: ${how}`);
    this.#onDead();
  }

  /** SIGSTOP for so long. */
  pause(ms: number): void {
    if (this.isPaused || this.isDead) return;
    this.isPaused = true;
    this.stage.note(`${this.name} stops for ${Math.round(ms)} ms`);
    this.stage.at(ms, () => this.resume());
  }

  resume(): void {
    if (!this.isPaused) return;
    this.isPaused = false;
    // One after the other, with what follows from each: what waits may come before what has rung.
    for (const action of this.#parked.splice(0)) this.stage.at(0, () => this.act(action));
  }

  #delay(ms: number, signal?: AbortSignal): Promise<void> {
    return new Promise((resolve) => {
      if (signal?.aborted) return resolve();
      const onAbort = () => {
        this.stage.cancel(timer);
        resolve();
      };
      const timer = this.stage.at(ms, () =>
        this.act(() => {
          signal?.removeEventListener("abort", onAbort);
          resolve();
        }),
      );
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }
}
