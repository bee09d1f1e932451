/** Which generations a member tells the log, and when. */
import type { Member } from "../decide/agreement.ts";
import type { Generation, Ledger } from "./ledger.ts";

export interface ToldGenerationsPorts {
  readonly ledger: Pick<Ledger, "formed">;
  /** Whether this member is the first one. */
  isFirst(): boolean;
  onFormed(formed: Generation, members: readonly Member[]): void;
}

export class ToldGenerations {
  readonly #ports: ToldGenerationsPorts;
  /** Of a generation that began before its first step was reached: not said until that is reached. */
  #unsaid: Generation | undefined;

  constructor(ports: ToldGenerationsPorts) {
    this.#ports = ports;
  }

  /** The log has no place for steps that nobody has committed: a generation that begins early is not told. */
  tell(formed: Generation & { readonly members: readonly Member[] }, isEarly: boolean): void {
    const { ledger, isFirst, onFormed } = this.#ports;
    this.#unsaid = isEarly ? formed : undefined;
    if (!isEarly) ledger.formed(formed, isFirst());
    onFormed(formed, formed.members);
  }

  /** The first step of the generation is reached. */
  reached(): void {
    if (this.#unsaid !== undefined) this.#ports.ledger.formed(this.#unsaid, this.#ports.isFirst());
    this.#unsaid = undefined;
  }
}
