/**
 * Whether silence says anything. Who was cut off, stopped, or has just taken over has heard nobody:
 * silence counts from when it could have heard something.
 */
export interface Hearing {
  /** Since when this process could have heard, monotonic ms. */
  readonly sinceMs: number;
  readonly lookedAtMs: number;
}

/** It looks this often at least while it runs. */
export const lookEveryMs = (timeoutMs: number) => timeoutMs / 10;

/** A process that looks less often than half its patience was held up itself. */
export function hear(
  before: Hearing,
  now: { readonly nowMs: number; readonly isConnected: boolean; readonly timeoutMs: number },
): Hearing {
  const wasHeldUp = now.nowMs - before.lookedAtMs > now.timeoutMs / 2;
  const isDeaf = !now.isConnected || wasHeldUp;
  return { sinceMs: isDeaf ? now.nowMs : before.sinceMs, lookedAtMs: now.nowMs };
}

export function isSilent(
  { sinceMs }: Hearing,
  heardAtMs: number,
  now: { readonly nowMs: number; readonly timeoutMs: number },
): boolean {
  return now.nowMs - Math.max(heardAtMs, sinceMs) > now.timeoutMs;
}
