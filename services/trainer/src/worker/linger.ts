/** Who leaves as planned stays until the others have hung up: they have all that it sent then. */
import type { Clock } from "./clock.ts";

export interface LingerPorts {
  readonly clock: Clock;
  isConnected(workerId: string): boolean;
}

const lingerMs = 1000;
const pollMs = 10;

export async function linger(
  { clock, isConnected }: LingerPorts,
  others: readonly string[],
): Promise<void> {
  const untilMs = clock.nowMs() + lingerMs;
  while (others.some(isConnected) && clock.nowMs() < untilMs) await clock.delay(pollMs);
}
