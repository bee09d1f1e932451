/**
 * Kills those who hand a newcomer the state while the generation that takes it in is planned, and not
 * begun: the narrowest place for what the log is told.
 */
import { setTimeout as delay } from "node:timers/promises";
import { type Bus, connectBus } from "@coxswain/bus";

const patienceMs = 10_000;
const pollMs = 2;
/** From the record's acceptance on: until about then a plan is not begun. */
const plannedMs = 40;

export interface JoinWatch {
  readonly natsUrl: string;
  readonly jobId: string;
  /** In [0, 1); seeded. */
  readonly random: () => number;
  kill(workerIds: readonly string[]): Promise<void>;
}

/** What of the record's vote is looked at. */
interface Accepted {
  readonly generation: number;
  readonly isPlanned?: true;
  readonly members: readonly { readonly workerId: string }[];
  readonly joined: readonly string[];
}

/** False when nobody joins within 10 s. */
export async function killAsOneJoins(watch: JoinWatch): Promise<boolean> {
  const { natsUrl, jobId, random, kill } = watch;
  const bus = await connectBus({ url: natsUrl, name: "faults", connectTimeoutMs: patienceMs });
  try {
    const planned = await plannedJoin(bus, jobId);
    if (planned === undefined) return false;
    await delay(random() * plannedMs);
    const others = planned.members.map(({ workerId }) => workerId);
    await kill(others.filter((workerId) => !planned.joined.includes(workerId)));
    return true;
  } finally {
    await bus.close();
  }
}

async function plannedJoin(bus: Bus, jobId: string): Promise<Accepted | undefined> {
  const deadlineMs = performance.now() + patienceMs;
  while (performance.now() < deadlineMs) {
    const entry = await bus
      .bucket("membership")
      .get(jobId)
      .catch(() => undefined); // The bus may be away.
    const accepted = entry?.value.vote?.accepted?.proposal as Accepted | undefined;
    if (accepted?.isPlanned && accepted.joined.length > 0) return accepted;
    await delay(pollMs);
  }
  return undefined;
}
