/** What was given away in a step that ended otherwise than by itself. */
import type { PeersPort } from "./member-ports.ts";

export interface VoidVectorsPorts {
  readonly peers: Pick<PeersPort, "forgetVectors">;
  /** The memory may be written again, and somebody has asked meanwhile. */
  onFree(): void;
}

export class VoidVectors {
  readonly #ports: VoidVectorsPorts;
  /** Sockets still send them: their memory must not be written yet. */
  #sending: Promise<unknown> | undefined;
  /** A step waits for that. */
  isHoldingUp = false;

  constructor(ports: VoidVectorsPorts) {
    this.#ports = ports;
  }

  letGo(): void {
    const sending = this.#ports.peers.forgetVectors();
    this.#sending = sending;
    void sending?.then(() => {
      if (this.#sending !== sending) return;
      this.#sending = undefined;
      if (this.isHoldingUp) this.#ports.onFree();
    });
  }

  /** Whether a step may begin; if not, it is said when it may. */
  mayBegin(): boolean {
    this.isHoldingUp = this.#sending !== undefined;
    return !this.isHoldingUp;
  }
}
