/** Connections among members that outlive, or come after, what a step needs of them. */
import type { Member } from "../decide/agreement.ts";
import type { Clock } from "./clock.ts";
import type { MemberPorts } from "./member-ports.ts";

export interface LingerPorts {
  readonly clock: Clock;
  isConnected(workerId: string): boolean;
}

const lingerMs = 1000;
const pollMs = 10;

/** Who leaves as planned stays until the others have hung up: they have all that it sent then. */
export async function linger(
  { clock, isConnected }: LingerPorts,
  others: readonly string[],
): Promise<void> {
  const untilMs = clock.nowMs() + lingerMs;
  while (others.some(isConnected) && clock.nowMs() < untilMs) await clock.delay(pollMs);
}

/** Members that lost each other but live must be able to agree: the lower id connects again. */
export function reconnect(
  { me, peers, knownDead }: Pick<MemberPorts, "me" | "peers" | "knownDead">,
  members: readonly Member[],
): void {
  const dead = knownDead();
  for (const { workerId, address } of members)
    if (me.workerId < workerId && !dead.has(workerId) && !peers.isConnected(workerId))
      void peers.connect(workerId, address);
}

/** Those who were members and are none. */
export function hangUp(
  peers: Pick<MemberPorts["peers"], "drop">,
  before: readonly Member[],
  members: readonly Member[],
): void {
  const ids = new Set(members.map(({ workerId }) => workerId));
  for (const { workerId } of before) if (!ids.has(workerId)) peers.drop(workerId);
}
