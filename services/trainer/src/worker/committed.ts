/** An update that this member's group has committed. */
export interface Committed {
  /** Its first step, and that of the next one. */
  readonly step: number;
  readonly next: number;
  /** The reduced ones. */
  readonly metrics: Readonly<Record<string, number>>;
  /** Milliseconds since then. */
  readonly agoMs: number;
  /** Milliseconds from the own last piece to the whole sum; undefined: it was not measured. */
  readonly exchangeMs: number | undefined;
  /** Nothing further is committed before the control thread says so: the state is that of `next`. */
  readonly isAtRest: boolean;
}
