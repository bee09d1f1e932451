/** Asking a bus that may be away for a while. */
import type { Clock } from "@coxswain/bus";
import { AppError } from "@coxswain/domain";

/** A worker that is starting waits so long for the bus; then it ends, and another may take its place. */
export const startPatienceMs = 600_000;
const pauseMsMin = 100;
const pauseMsMax = 2000;

export interface PatiencePorts {
  readonly clock: Pick<Clock, "nowMs" | "delay">;
  /** Aborts when the answer is no longer wanted. */
  readonly signal: AbortSignal;
  readonly log: (sentence: string, fields: object) => void;
}

const isBusAway = (error: unknown) => error instanceof AppError && error.code === "bus-unavailable";

/**
 * Asks again while the bus is away, with pauses that double, for `startPatienceMs` at most.
 * @throws what `ask` throws when the bus is there, the time is over, or `signal` aborted
 */
export async function patiently<Answer>(
  { clock, signal, log }: PatiencePorts,
  ask: () => Promise<Answer>,
): Promise<Answer> {
  const untilMs = clock.nowMs() + startPatienceMs;
  for (let pauseMs = pauseMsMin; ; pauseMs = Math.min(2 * pauseMs, pauseMsMax)) {
    try {
      return await ask();
    } catch (error) {
      if (!isBusAway(error) || signal.aborted || clock.nowMs() + pauseMs > untilMs) throw error;
      if (pauseMs === pauseMsMin) log("the bus is away; asking again", { err: error });
    }
    await clock.delay(pauseMs, signal);
  }
}
