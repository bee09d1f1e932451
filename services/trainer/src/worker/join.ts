/** How a worker gets into its group: it founds the group, or a member hands it the state. */
import type { Bucket, Entry, MembershipRecord } from "@coxswain/bus";
import { AppError, type BatchChange, type Job, type JobCheckpoint } from "@coxswain/domain";
import { latestWholeCheckpoint, type Store } from "@coxswain/store";
import type { Candidate, Member, Proposal } from "../decide/agreement.ts";
import { assignShards } from "../decide/shards.ts";
import { VerdictPatience } from "../decide/verdict-patience.ts";
import type { ControlMessage, Peers } from "../exchange/peers.ts";
import type { Clock } from "./clock.ts";
import type { Compute } from "./compute.ts";
import type { Compiled } from "./compute-messages.ts";
import type { Ledger } from "./ledger.ts";
import type { GroupMembership } from "./member.ts";
import { recordOf } from "./record-acceptor.ts";
import { readSource } from "./source.ts";
import type { Transfer } from "./transfer.ts";

export interface JoinPorts {
  readonly me: Candidate;
  readonly job: () => Job;
  readonly record: Bucket<MembershipRecord>;
  readonly store: Store;
  readonly peers: Pick<Peers, "connect" | "isConnected" | "drop"> & {
    tell(workerId: string, message: ControlMessage): void;
  };
  readonly compute: Pick<Compute, "initialize" | "load" | "warm">;
  readonly compiled: Pick<Compiled, "hash" | "identity" | "layout" | "samplesTrain">;
  readonly steps: number;
  readonly ledger: Pick<Ledger, "inherit" | "generations" | "toldStep">;
  readonly membership: GroupMembership;
  readonly transfer: Transfer;
  readonly clock: Clock;
  readonly knownDead: () => ReadonlySet<string>;
  readonly signal: AbortSignal;
  /** A checkpoint that is not whole is left for the one before it. */
  readonly onPassedOver: (checkpoint: JobCheckpoint, reason: string) => void;
  readonly log: (sentence: string, fields: object) => void;
}

const retryMs = 50;
/** Without a sign of the transfer for so long, another donor is asked. */
const transferIdleMs = 30_000;
const takenInMs = 10_000;
/** Who stands by says so again, before its word is too old. */
const standByMs = 500;
/** It waits so long to be taken in when it is its donor that was lost. */
const donorGraceMs = 1000;

/** Returns when this worker is a member, or `signal` aborts. */
export async function enterGroup(ports: JoinPorts): Promise<void> {
  const { record, membership, signal, clock } = ports;
  const isJoining = () => !signal.aborted && membership.state === "joining";
  const patience = new VerdictPatience();
  while (isJoining()) {
    const entry = await record.get(ports.job().id).catch(() => "away" as const);
    if (entry !== "away") await tryOnce(ports, entry, patience);
    if (isJoining()) await clock.delay(retryMs);
  }
}

async function tryOnce(
  ports: JoinPorts,
  entry: Entry<MembershipRecord> | undefined,
  patience: VerdictPatience,
): Promise<void> {
  const { me, membership } = ports;
  const members = candidatesOf(entry?.value);
  const isMe = ({ workerId }: Member) => workerId === me.workerId;
  // The own id stands there alone when the answer to founding was lost: found once more.
  const isAnyAlive = members.some(
    (member) => !isMe(member) && !ports.knownDead().has(member.workerId),
  );
  if (!isAnyAlive) await found(ports, entry, patience);
  else if (!((entry?.value.members ?? []) as readonly Member[]).some(isMe))
    await join(
      ports,
      members.filter((member) => !isMe(member)),
    );
  else if (membership.isReady) membership.seeRecord(entry!.value);
  else membership.giveUp();
}

/**
 * Who may be a member: those of the record, and those of the generation that the record has accepted.
 * A generation with newcomers needs the record's acceptance, so nobody else can be one.
 */
function candidatesOf(record: MembershipRecord | undefined): readonly Member[] {
  const accepted = record?.vote?.accepted?.proposal as Proposal | undefined;
  const all = [...(record?.members ?? []), ...(accepted?.members ?? [])] as readonly Member[];
  return [...new Map(all.map((member) => [member.workerId, member])).values()];
}

/** Nobody lives: starts at the newest whole checkpoint, at the one that the job names, or at the beginning. */
async function found(
  ports: JoinPorts,
  entry: Entry<MembershipRecord> | undefined,
  patience: VerdictPatience,
): Promise<void> {
  const { compute, membership, clock } = ports;
  const job = ports.job();
  if (canGoOn(ports, entry?.value)) return goOnAlone(ports, entry!);
  if (patience.awaited(job, clock.nowMs()) !== undefined) return; // Soon it can be restored.
  ports.transfer.forgetState();
  const own = await latestWholeCheckpoint(ports.store, job.checkpoints, ports.onPassedOver);
  if (own !== undefined) checkFacts(ports, own.manifest);
  const restored = own ?? (await readSource(ports, job.spec.from));
  if (restored === undefined) await compute.initialize();
  else await compute.load(0, restored.vector);
  const fromStep = restored?.manifest.step ?? 0;
  const generation = generationAfter(job, entry);
  const cause = generation === 1 && restored === undefined ? "start" : "restore";
  const proposal = await claimAlone(ports, { entry, job, fromStep, cause, lost: [] });
  if (proposal === undefined) return;
  membership.startAt(fromStep);
  membership.isReady = true;
  membership.adopt(proposal, restored === undefined ? {} : { checkpointStep: fromStep });
}

const generationAfter = (job: Job, entry: Entry<MembershipRecord> | undefined) =>
  Math.max(entry?.value.generation ?? 0, job.generation) + 1;

interface Claim extends Pick<Proposal, "fromStep" | "cause" | "lost"> {
  /** As it was read: who has changed it since was first. */
  readonly entry: Entry<MembershipRecord> | undefined;
  readonly job: Job;
}

/**
 * The next generation, of this worker alone, once the record has it. Undefined: somebody else was
 * first, or the bus is away; look again.
 */
async function claimAlone(
  { me, record, signal }: JoinPorts,
  { entry, job, ...facts }: Claim,
): Promise<Proposal | undefined> {
  const [range] = assignShards(job.spec.shards, 1);
  const batches = batchesOf(job, entry?.value);
  const proposal: Proposal = {
    generation: generationAfter(job, entry),
    members: [{ ...me, shardFrom: range!.from, shardTo: range!.to }],
    ...facts,
    ...{ joined: [me.workerId], left: [], level: [me.workerId] },
    ...(batches.length > 0 && { batches }),
  };
  const value = recordOf(proposal);
  const isOurs = await (entry === undefined
    ? record.create(job.id, value)
    : record.update(job.id, value, entry.revision)
  ).then(
    () => true,
    () => false,
  );
  return isOurs && !signal.aborted ? proposal : undefined;
}

/**
 * All members are dead, and this worker followed them: it has what they committed last, but for what
 * was on its way. Not where the log tells of more than one update beyond, or a checkpoint does.
 */
function canGoOn(
  { me, transfer, membership, ledger, job }: JoinPorts,
  record: MembershipRecord | undefined,
): boolean {
  const newest = Math.max(0, ...job().checkpoints.map(({ step }) => step));
  const followed = ledger.generations.at(-1)?.generation;
  // Its own, when the answer to founding it was lost.
  const isOwn = record?.members.length === 1 && record.members[0]!.workerId === me.workerId;
  return (
    transfer.holdsState &&
    record !== undefined &&
    (followed === record.generation || (isOwn && record.fromStep === membership.step)) &&
    membership.step >= newest &&
    ledger.toldStep <= membership.updates.after(membership.step)
  );
}

/** From the step that it has. */
async function goOnAlone(ports: JoinPorts, entry: Entry<MembershipRecord>): Promise<void> {
  const { membership } = ports;
  const lost = (entry.value.members as readonly Member[]).map(({ workerId }) => workerId);
  const facts = { fromStep: membership.step, cause: "loss", lost } as const;
  const proposal = await claimAlone(ports, { entry, job: ports.job(), ...facts });
  if (proposal === undefined) return;
  membership.isReady = true;
  membership.adopt(proposal);
}

/**
 * What was decided last, whatever the checkpoint's step: what is trained again is trained with the
 * batches that it had. A batch that the record has accepted may have been in force, unless the log tells
 * of that generation: then it says what was.
 */
function batchesOf(job: Job, record: MembershipRecord | undefined): readonly BatchChange[] {
  const accepted = record?.vote?.accepted?.proposal as Proposal | undefined;
  const isOpen = accepted !== undefined && accepted.generation > job.generation;
  const known = [isOpen ? accepted.batches : undefined, record?.batches, job.batches];
  const newest = (batches: readonly BatchChange[] = []) => batches.at(-1)?.decision ?? -1;
  return known.reduce<readonly BatchChange[]>(
    (best, one = []) => (newest(one) > newest(best) ? one : best),
    [],
  );
}

/** @throws AppError `engine-mismatch` when the checkpoint was made by something else */
function checkFacts(
  { compiled }: JoinPorts,
  facts: { readonly programHash: string; readonly engine: string },
): void {
  if (facts.programHash === compiled.hash) return;
  throw new AppError(
    "engine-mismatch",
    `the checkpoint was written by program ${facts.programHash.slice(0, 12)} on ${facts.engine}, this is ${compiled.hash.slice(0, 12)} on ${compiled.identity}`,
  );
}

/** What hands this worker the state. */
interface Feed {
  readonly donor: string;
  /** Since when it does not, monotonic: found again, the donor does not know who followed it. */
  lostMs: number | undefined;
  /** Tells all members which step this worker has. */
  sayHowFar: (() => void) | undefined;
}

/** One try: connect, receive the state, keep level, ask to be taken in. */
async function join(ports: JoinPorts, members: readonly Member[]): Promise<void> {
  const { peers, transfer, membership, clock } = ports;
  const connected = await connectAll(ports, members);
  const donor = members.find(({ workerId }) => connected.includes(workerId))?.workerId;
  if (donor === undefined) return;
  const feed: Feed = { donor, lostMs: undefined, sayHowFar: undefined };
  membership.onLostFrom = (lost) => {
    if (lost !== donor) return;
    feed.lostMs ??= clock.nowMs();
    if (membership.state === "joining" && membership.standsBy) feed.sayHowFar?.();
  };
  const isFed = () => {
    if (!membership.isPlanned && !peers.isConnected(donor)) feed.lostMs ??= clock.nowMs();
    if (feed.lostMs === undefined) return true;
    const isInGrace = membership.standsBy && clock.nowMs() - feed.lostMs < donorGraceMs;
    return isInGrace && !membership.isPlanned;
  };
  const isOn = () => !ports.signal.aborted && membership.state === "joining" && isFed();
  transfer.begin(donor);
  peers.tell(donor, { kind: "join" });
  while (isOn() && !transfer.isLoaded && clock.nowMs() - transfer.heardMs < transferIdleMs)
    await clock.delay(5);
  if (transfer.isLoaded) await ports.compute.warm(membership.step);
  const deadlineMs = clock.nowMs() + takenInMs;
  const isPatient = () => membership.standsBy || membership.isPlanned || clock.nowMs() < deadlineMs;
  while (isOn() && transfer.isLoaded && isPatient()) await askIn(ports, feed);
  if (membership.state !== "joining") return;
  // From the start, and so that everybody notices: what was asked before does not count any more.
  membership.isReady = false;
  membership.standsBy = false;
  membership.breakPlan(); // Not ready, it has no part in it.
  transfer.end();
  for (const { workerId } of [...members, ...transfer.members]) peers.drop(workerId);
}

async function askIn(ports: JoinPorts, feed: Feed): Promise<void> {
  const { me, peers, transfer, membership, clock } = ports;
  if (membership.isPlanned) return clock.delay(retryMs);
  const present = transfer.members;
  // Taken in while it started over: the others wait for a part that it cannot do.
  if (present.some(({ workerId }) => workerId === me.workerId)) return membership.giveUp();
  const connected = await connectAll(ports, present);
  if (membership.state !== "joining" || !transfer.isLoaded) return;
  if (connected.length === present.length && membership.canHandOn) {
    membership.isReady = true;
    const { donor } = feed;
    const say = (members: readonly Member[]) => {
      const ready = { candidate: me, connected, step: membership.step, donor };
      for (const { workerId } of members) peers.tell(workerId, { kind: "ready", ...ready });
    };
    say(present.slice(0, 2));
    // When the donor is lost, the others want to know at once.
    feed.sayHowFar = () => say(present);
  }
  await clock.delay(membership.standsBy ? standByMs : retryMs);
}

async function connectAll(
  { peers }: JoinPorts,
  members: readonly Member[],
): Promise<readonly string[]> {
  const answers = await Promise.all(
    members.map(async ({ workerId, address }) =>
      (await peers.connect(workerId, address)) ? [workerId] : [],
    ),
  );
  return answers.flat();
}
