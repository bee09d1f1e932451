/** How a worker gets into its group: it founds the group, or a member hands it the state. */
import { setTimeout as delay } from "node:timers/promises";
import type { Bucket, MembershipRecord } from "@coxswain/bus";
import { AppError, type Job } from "@coxswain/domain";
import { latestWholeCheckpoint, type Store } from "@coxswain/store";
import type { Candidate, Member, Proposal } from "../decide/agreement.ts";
import { assignShards } from "../decide/shards.ts";
import type { Peers } from "../exchange/peers.ts";
import type { Compute } from "./compute.ts";
import type { Compiled } from "./compute-messages.ts";
import type { SnapshotInbox } from "./follow.ts";
import type { Ledger } from "./ledger.ts";
import type { GroupMembership } from "./member.ts";

export interface JoinPorts {
  readonly me: Candidate;
  readonly job: () => Job;
  readonly record: Bucket<MembershipRecord>;
  readonly store: Store;
  readonly peers: Peers;
  readonly compute: Compute;
  readonly compiled: Compiled;
  readonly ledger: Ledger;
  readonly membership: GroupMembership;
  readonly knownDead: () => ReadonlySet<string>;
  readonly signal: AbortSignal;
  readonly log: (sentence: string, fields: object) => void;
  /** The snapshot that is arriving, once its announcement came. */
  readonly snapshot: { current: SnapshotInbox | undefined; whole: PromiseWithResolvers<void> };
}

const retryMs = 100;
const transferIdleMs = 30_000;
const takenInMs = 5000;

/** Returns when this worker is a member, or `signal` aborts. */
export async function enterGroup(ports: JoinPorts): Promise<void> {
  while (!ports.signal.aborted && ports.membership.state === "joining") {
    const entry = await ports.record.get(ports.job().id).catch(() => "away" as const);
    if (entry === "away") {
      await delay(retryMs);
      continue;
    }
    const members = (entry?.value.members ?? []) as readonly Member[];
    const alive = members.filter(({ workerId }) => !ports.knownDead().has(workerId));
    if (alive.length === 0) await found(ports, entry);
    else await join(ports, members);
    if (ports.membership.state === "joining") await delay(retryMs);
  }
}

/** Nobody lives: starts at the beginning, or at the newest whole checkpoint. */
async function found(
  ports: JoinPorts,
  entry: { readonly value: MembershipRecord; readonly revision: number } | undefined,
): Promise<void> {
  const { me, compute, membership, record, ledger } = ports;
  const job = ports.job();
  const restored = await latestWholeCheckpoint(ports.store, job.checkpoints, (checkpoint, reason) =>
    ports.log("a checkpoint is passed over", { step: checkpoint.step, reason }),
  );
  if (restored === undefined) await compute.initialize();
  else {
    checkFacts(ports, restored.manifest);
    await compute.load(0, restored.vector);
  }
  const fromStep = restored?.manifest.step ?? 0;
  const [range] = assignShards(job.spec.shards, 1);
  const generation = Math.max(entry?.value.generation ?? 0, job.generation) + 1;
  const member: Member = { ...me, shardFrom: range!.from, shardTo: range!.to };
  const value: MembershipRecord = { generation, fromStep, members: [member] };
  const isOurs = await (entry === undefined
    ? record.create(job.id, value)
    : record.update(job.id, value, entry.revision)
  ).then(
    () => true,
    () => false, // Somebody else was first, or the bus is away: look again.
  );
  if (!isOurs) return;
  membership.startAt(fromStep);
  if (generation > 1) ledger.inherit([]);
  const cause = generation === 1 ? "start" : "restore";
  const proposal: Proposal = {
    ...value,
    members: [member],
    cause,
    joined: [me.workerId],
    left: [],
    lost: [],
    level: [me.workerId],
  };
  membership.adopt(proposal, restored === undefined ? {} : { checkpointStep: fromStep });
}

/** @throws AppError `engine-mismatch` when the checkpoint was made by something else */
function checkFacts(
  ports: JoinPorts,
  facts: { readonly programHash: string; readonly engine: string },
): void {
  if (facts.programHash === ports.compiled.hash) return;
  throw new AppError(
    "engine-mismatch",
    `the checkpoint was written by program ${facts.programHash.slice(0, 12)} on ${facts.engine}, this is ${ports.compiled.hash.slice(0, 12)} on ${ports.compiled.identity}`,
  );
}

async function join(ports: JoinPorts, members: readonly Member[]): Promise<void> {
  const { me, peers, membership } = ports;
  if (members.some(({ workerId }) => workerId === me.workerId)) return void (await delay(retryMs));
  const connected = await connectAll(ports, members);
  const donor = members.find(({ workerId }) => connected.has(workerId));
  if (donor === undefined) return;
  await receiveState(ports, donor.workerId);
  // Members may have changed meanwhile: connect to the new ones, then ask to be taken in.
  for (const deadlineMs = performance.now() + takenInMs; performance.now() < deadlineMs; ) {
    if (
      ports.signal.aborted ||
      membership.state !== "joining" ||
      !peers.isConnected(donor.workerId)
    )
      return;
    const now = await ports.record.get(ports.job().id).catch(() => undefined);
    const present = (now?.value.members ?? members) as readonly Member[];
    const all = await connectAll(ports, present);
    if (present.every(({ workerId }) => all.has(workerId))) {
      peers.tell(present[0]!.workerId, { kind: "ready", candidate: { ...me } });
    }
    await waitUntil(
      () => membership.state !== "joining" || !peers.isConnected(donor.workerId),
      retryMs * 3,
    );
  }
}

async function connectAll({ peers }: JoinPorts, members: readonly Member[]): Promise<Set<string>> {
  const answers = await Promise.all(
    members.map(
      async ({ workerId, address }) => [workerId, await peers.connect(workerId, address)] as const,
    ),
  );
  return new Set(answers.filter(([, isConnected]) => isConnected).map(([workerId]) => workerId));
}

/** Waits for the donor's snapshot; the steps since go on arriving. */
async function receiveState(ports: JoinPorts, donor: string): Promise<void> {
  const { peers, snapshot } = ports;
  snapshot.current = undefined;
  snapshot.whole = Promise.withResolvers();
  peers.tell(donor, { kind: "join" });
  let isWhole = false;
  void snapshot.whole.promise.then(() => {
    isWhole = true;
  });
  const deadlineMs = performance.now() + transferIdleMs;
  await waitUntil(
    () => isWhole || !peers.isConnected(donor) || performance.now() > deadlineMs,
    transferIdleMs,
  );
}

async function waitUntil(isDone: () => boolean, timeoutMs: number): Promise<void> {
  const deadlineMs = performance.now() + timeoutMs;
  while (!isDone() && performance.now() < deadlineMs) await delay(5);
}
