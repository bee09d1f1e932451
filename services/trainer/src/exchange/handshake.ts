/**
 * Who knows the job's secret is let in, and proves it anew for each connection.
 *
 *   accepting -> challenge {nonce, local}
 *   connecting -> answer {workerId, nonce, mac}     mac = HMAC-SHA256(secret, role | nonces | ids)
 *   accepting -> welcome {workerId, mac}
 */
import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { encodeControl, type Frame, frameTypes } from "./frames.ts";

export type ControlMessage = { readonly kind: string } & Readonly<Record<string, unknown>>;

export interface HandshakeOptions {
  readonly jobId: string;
  readonly workerId: string;
  readonly secret: string;
}

/** What a message of the other side led to. */
export type Shaken =
  | { readonly kind: "answered"; readonly frame: Buffer }
  /** `frame` is the last word to it, if there is one. */
  | { readonly kind: "proved"; readonly workerId: string; readonly frame?: Buffer }
  | { readonly kind: "refused" };

export class Handshake {
  readonly #options: HandshakeOptions;
  readonly #nonce = randomBytes(16).toString("hex");
  /** Whom the connecting side expects; undefined on the accepting side. */
  readonly #expected: string | undefined;
  #nonces = "";

  constructor(options: HandshakeOptions, expected?: string) {
    this.#options = options;
    this.#expected = expected;
  }

  /** The accepting side's first message. `local` is where it listens for who is on its machine. */
  challenge(local: string | undefined): Buffer {
    return encodeControl({ kind: "challenge", nonce: this.#nonce, local });
  }

  receive(message: ControlMessage | undefined): Shaken {
    const { workerId: own } = this.#options;
    if (this.#expected === undefined) return this.#judgeAnswer(message);
    if (message?.kind === "challenge") {
      this.#nonces = `${message["nonce"]}|${this.#nonce}`;
      const mac = this.#mac("answer", this.#nonces, own);
      const answer = { kind: "answer", workerId: own, nonce: this.#nonce, mac };
      return { kind: "answered", frame: encodeControl(answer) };
    }
    const isWelcome = message?.kind === "welcome" && message["workerId"] === this.#expected;
    return isWelcome && this.#isMac(message["mac"], "welcome", this.#nonces, this.#expected)
      ? { kind: "proved", workerId: this.#expected }
      : { kind: "refused" };
  }

  #judgeAnswer(message: ControlMessage | undefined): Shaken {
    const { workerId: own } = this.#options;
    if (message?.kind !== "answer") return { kind: "refused" };
    const workerId = String(message["workerId"]);
    const nonces = `${this.#nonce}|${message["nonce"]}`;
    if (!this.#isMac(message["mac"], "answer", nonces, workerId)) return { kind: "refused" };
    const mac = this.#mac("welcome", nonces, own);
    return {
      kind: "proved",
      workerId,
      frame: encodeControl({ kind: "welcome", workerId: own, mac }),
    };
  }

  #mac(role: string, nonces: string, workerId: string): string {
    return createHmac("sha256", this.#options.secret)
      .update(`${role}|${this.#options.jobId}|${workerId}|${nonces}`)
      .digest("hex");
  }

  #isMac(given: unknown, role: string, nonces: string, workerId: string): boolean {
    const expected = Buffer.from(this.#mac(role, nonces, workerId));
    const actual = Buffer.from(String(given));
    return actual.length === expected.length && timingSafeEqual(actual, expected);
  }
}

/** The message of a control frame; undefined when it is none. */
export function parseControl({ type, payload }: Frame): ControlMessage | undefined {
  if (type !== frameTypes.control) return undefined;
  try {
    const message = JSON.parse(Buffer.from(payload).toString("utf8")) as ControlMessage;
    return typeof message === "object" && message !== null && typeof message.kind === "string"
      ? message
      : undefined;
  } catch {
    return undefined; // Not JSON.
  }
}
