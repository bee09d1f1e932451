/** Connections among members that outlive, or come after, what a step needs of them. */
import type { Member, Proposal } from "../decide/agreement.ts";
import type { Clock } from "./clock.ts";
import type { MemberPorts } from "./member-ports.ts";

export interface LingerPorts {
  readonly clock: Clock;
  readonly peers: Pick<MemberPorts["peers"], "isConnected">;
}

const lingerMs = 1000;
const pollMs = 10;

/** Who leaves as planned stays until the others have hung up: they have all that it sent then. */
export async function linger(
  { clock, peers }: LingerPorts,
  others: readonly Member[],
): Promise<void> {
  const untilMs = clock.nowMs() + lingerMs;
  const isAwaited = () => others.some(({ workerId }) => peers.isConnected(workerId));
  while (isAwaited() && clock.nowMs() < untilMs) await clock.delay(pollMs);
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

/** Those who were members and are none; a newcomer knows them by having followed one that leaves. */
export function hangUp(
  peers: Pick<MemberPorts["peers"], "drop">,
  before: readonly Member[],
  { members, left }: Pick<Proposal, "members" | "left">,
): void {
  const ids = new Set(members.map(({ workerId }) => workerId));
  for (const workerId of new Set([...before.map((member) => member.workerId), ...left]))
    if (!ids.has(workerId)) peers.drop(workerId);
}
