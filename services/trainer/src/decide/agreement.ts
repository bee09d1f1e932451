/**
 * How the members of generation g agree on generation g + 1.
 *
 * One instance of Paxos (Lamport, "Paxos Made Simple", 2001) for each generation number. Acceptors
 * are the members of g and, as one more that breaks ties, the job's membership record. A quorum is a
 * strict majority of the members; or exactly half and the record; or fewer, the record, and every
 * other member known to be dead. Any two quorums share an acceptor or the rest is dead, so one
 * generation at most comes out of each.
 *
 * A promise freezes its giver: it commits nothing more in g, so the step that it reports is final.
 *
 * A planned change (a join, a leave, other shares, another batch) need not stop anybody: its proposal names a step
 * ahead, and promises for it do not freeze. Whoever asks for it or accepts it does not begin that step
 * in g, so nobody can commit it there, since a step needs every member. Until then g goes on. When g
 * cannot, because a member is lost, g + 1 begins where it stands and is replaced at once.
 */
import { assert, type BatchChange, withChange } from "@coxswain/domain";
import { assignShards, type ShardRange } from "./shards.ts";
import { assignByPace, type Paces } from "./shares.ts";

export interface Member {
  readonly workerId: string;
  readonly nodeId: string;
  readonly address: string;
  readonly shardFrom: number;
  readonly shardTo: number;
}

/** Somebody who may become a member. */
export type Candidate = Pick<Member, "workerId" | "nodeId" | "address">;

/**
 * `renew`: the same members, with other shares or after connections that broke; `batch`: with another
 * batch.
 */
export type Cause = "start" | "restore" | "loss" | "join" | "leave" | "renew" | "batch";

/** What is agreed on. Members stand in order of seniority: the rank is the index. */
export interface Proposal {
  readonly generation: number;
  readonly fromStep: number;
  readonly members: readonly Member[];
  readonly cause: Cause;
  readonly joined: readonly string[];
  readonly left: readonly string[];
  readonly lost: readonly string[];
  /** Members whose next step is fromStep already; the others need the vector of the update before. */
  readonly level: readonly string[];
  /** Agreed ahead of its first step: the generation before it goes on until then. */
  readonly isPlanned?: true;
  /** Which batches hold from which steps on; absent: that of the job, throughout. */
  readonly batches?: readonly BatchChange[];
}

export interface Vote {
  readonly promised: number;
  readonly accepted?: { readonly ballot: number; readonly proposal: Proposal };
}

export interface PromiseOf {
  readonly workerId: string;
  /** The next step that the member would commit. */
  readonly step: number;
  /** It has begun no step as a member: others may have committed any number of updates more. */
  readonly isNew?: boolean;
  readonly accepted?: Vote["accepted"];
}

/** Higher rounds win; within a round the rank makes ballots different. */
export function ballotOf(round: number, rank: number): number {
  assert(rank < 1024, "a generation has fewer than 1024 members");
  return round * 1024 + rank;
}

/** The first ballot of this rank above another. */
export function ballotAbove(ballot: number, rank: number): number {
  return ballotOf(Math.floor(ballot / 1024) + 1, rank);
}

/** An acceptor's answer to a proposer's first message. */
export function promise(
  vote: Vote,
  ballot: number,
): { readonly vote: Vote; readonly isPromised: boolean } {
  if (ballot <= vote.promised) return { vote, isPromised: false };
  return { vote: { ...vote, promised: ballot }, isPromised: true };
}

/** An acceptor's answer to a proposer's second message. */
export function accept(
  vote: Vote,
  ballot: number,
  proposal: Proposal,
): { readonly vote: Vote; readonly isAccepted: boolean } {
  if (ballot < vote.promised) return { vote, isAccepted: false };
  return { vote: { promised: ballot, accepted: { ballot, proposal } }, isAccepted: true };
}

export type Quorum =
  | { readonly kind: "majority" }
  /** The record must agree too, in both phases. */
  | { readonly kind: "with-record"; readonly reason: "half" | "others-dead" }
  | { readonly kind: "none"; readonly reason: string };

/** Says whether those who answered may decide, and whether they need the record. */
export function quorumOf(
  members: readonly Pick<Member, "workerId">[],
  answered: ReadonlySet<string>,
  knownDead: ReadonlySet<string>,
): Quorum {
  const yes = members.filter(({ workerId }) => answered.has(workerId)).length;
  if (yes * 2 > members.length) return { kind: "majority" };
  if (yes * 2 === members.length) return { kind: "with-record", reason: "half" };
  const silent = members.filter(
    ({ workerId }) => !answered.has(workerId) && !knownDead.has(workerId),
  );
  if (yes > 0 && silent.length === 0) return { kind: "with-record", reason: "others-dead" };
  return {
    kind: "none",
    reason: `${yes} of ${members.length} members agree; nothing is known of ${silent.map(({ workerId }) => workerId).join(", ")}`,
  };
}

export interface ProposalInput {
  readonly generation: number;
  readonly members: readonly Member[];
  readonly shards: number;
  readonly promises: readonly PromiseOf[];
  readonly leaving: ReadonlySet<string>;
  readonly joining: readonly Candidate[];
  /** What members need for one shard, when shares are to follow it. */
  readonly paces?: Paces | undefined;
  /** Of a planned change: the members go on until there. */
  readonly switchStep?: number | undefined;
  /** What holds now, and another batch that shall begin with the generation. */
  readonly batches?: readonly BatchChange[] | undefined;
  readonly batchWanted?: BatchWanted | undefined;
}

export type BatchWanted = Omit<BatchChange, "fromStep">;

/**
 * What a proposer asks for, given the promises of a quorum: the proposal accepted under the highest
 * ballot if there is one, else those who promised, less the leaving, plus the joining.
 */
export function proposalOf(input: ProposalInput): Proposal {
  const accepted = input.promises.flatMap((given) =>
    given.accepted === undefined ? [] : [given.accepted],
  );
  const highest = accepted.sort((a, b) => b.ballot - a.ballot)[0];
  if (highest !== undefined) return highest.proposal;

  const promised = new Map(input.promises.map((given) => [given.workerId, given.step]));
  const { switchStep } = input;
  const fromStep = switchStep ?? Math.max(...promised.values());
  const staying: Candidate[] = input.members.filter(
    ({ workerId }) => promised.has(workerId) && !input.leaving.has(workerId),
  );
  const joining = input.joining.slice(0, Math.max(0, input.shards - staying.length));
  const lost = input.members
    .filter(({ workerId }) => !promised.has(workerId))
    .map(({ workerId }) => workerId);
  const left = input.members
    .filter(({ workerId }) => promised.has(workerId) && input.leaving.has(workerId))
    .map(({ workerId }) => workerId);
  const everybody = [...staying, ...joining];
  const ranges = rangesFor(everybody, input);
  const { batches = [], batchWanted } = input;
  const held = batchWanted === undefined ? batches : withChange(batches, fromStep, batchWanted);
  return {
    generation: input.generation + 1,
    fromStep,
    members: everybody.map(({ workerId, nodeId, address }, rank) => ({
      workerId,
      nodeId,
      address,
      shardFrom: ranges[rank]!.from,
      shardTo: ranges[rank]!.to,
    })),
    cause: causeOf({ lost, left, joining, batch: batchWanted === undefined ? [] : [batchWanted] }),
    joined: joining.map(({ workerId }) => workerId),
    left,
    lost,
    level: [...promised]
      .filter(([, step]) => step === fromStep || switchStep !== undefined)
      .map(([workerId]) => workerId),
    ...(switchStep === undefined ? {} : { isPlanned: true as const }),
    ...(held.length > 0 ? { batches: held } : {}),
  };
}

function causeOf(
  changes: Readonly<Record<"lost" | "left" | "joining" | "batch", readonly unknown[]>>,
): Cause {
  if (changes.lost.length > 0) return "loss";
  if (changes.left.length > 0) return "leave";
  if (changes.joining.length > 0) return "join";
  return changes.batch.length > 0 ? "batch" : "renew";
}

/** Equal shares, or by pace when that of every member is known. */
function rangesFor(
  everybody: readonly Candidate[],
  { shards, paces }: ProposalInput,
): readonly ShardRange[] {
  if (everybody.length === 0) return [];
  const known = everybody.flatMap(({ workerId }) => paces?.get(workerId) ?? []);
  return known.length === everybody.length
    ? assignByPace(shards, known)
    : assignShards(shards, everybody.length);
}
