/**
 * The membership record as one more acceptor: it promises and accepts by compare-and-set, and it is
 * where a decided generation is written down.
 */
import type { Bucket, MembershipRecord } from "@coxswain/bus";
import { type Proposal, promise, type Vote } from "../decide/agreement.ts";

export type RecordAnswer =
  /** `revision` is what the next compare-and-set names. */
  | { readonly kind: "yes"; readonly vote: Vote; readonly revision: number }
  /** A higher ballot was promised, or another writer came between. */
  | { readonly kind: "refused"; readonly promised: number }
  | { readonly kind: "away" }
  /** Another generation stands in the record: a later one, or one that excludes the asker's. */
  | { readonly kind: "ahead"; readonly record: MembershipRecord };

export class RecordAcceptor {
  readonly #bucket: Bucket<MembershipRecord>;
  readonly #jobId: string;

  constructor(bucket: Bucket<MembershipRecord>, jobId: string) {
    this.#bucket = bucket;
    this.#jobId = jobId;
  }

  /** `base` is the generation that the asker is in: written down first when the record is behind. */
  async prepare(base: MembershipRecord, ballot: number): Promise<RecordAnswer> {
    const entry = await this.#read();
    if (entry === undefined) return { kind: "away" };
    if (isAhead(entry.value, base)) return { kind: "ahead", record: entry.value };
    const before = entry.value.generation === base.generation ? voteOf(entry.value) : noVote;
    const { vote, isPromised } = promise(before, ballot);
    if (!isPromised) return { kind: "refused", promised: before.promised };
    const revision = await this.#write({ ...base, vote }, entry.revision);
    return revision === undefined ? { kind: "away" } : { kind: "yes", vote, revision };
  }

  /** After a promise of the same ballot, `revision` being its answer's. Returns the new revision. */
  accept(
    base: MembershipRecord,
    ballot: number,
    proposal: Proposal,
    revision: number,
  ): Promise<number | undefined> {
    const vote: Vote = { promised: ballot, accepted: { ballot, proposal } };
    return this.#write({ ...base, vote }, revision);
  }

  /** Writes the new generation down, if nothing has changed since `revision`. True when it stands there. */
  async decide(proposal: Proposal, revision: number): Promise<boolean> {
    const record = recordOf(proposal);
    if ((await this.#write(record, revision)) !== undefined) return true;
    // Unknown whether it was written: the record itself says.
    const now = await this.#read();
    return now !== undefined && isSame(now.value, record);
  }

  /** Brings the record up to a generation that was decided without it. */
  async publish(proposal: Proposal): Promise<"done" | "again" | MembershipRecord> {
    const record = recordOf(proposal);
    const entry = await this.#read();
    if (entry === undefined) return "again";
    if (isSame(entry.value, record)) return "done";
    if (isAhead(entry.value, record)) return entry.value;
    return (await this.#write(record, entry.revision)) === undefined ? "again" : "done";
  }

  #read() {
    return this.#bucket.get(this.#jobId).catch(() => undefined); // The bus is away.
  }

  #write(record: MembershipRecord, revision: number): Promise<number | undefined> {
    return this.#bucket.update(this.#jobId, record, revision).catch(() => undefined); // Away, or another came first.
  }
}

const noVote: Vote = { promised: 0 };

function voteOf(record: MembershipRecord): Vote {
  return (record.vote as Vote | undefined) ?? noVote;
}

export function recordOf(proposal: Proposal): MembershipRecord {
  const { generation, fromStep, members, cause, batches } = proposal;
  return { generation, fromStep, members, cause, ...(batches === undefined ? {} : { batches }) };
}

/** What the record tells of a generation: who came and went is not written down. */
export function proposalOfRecord(record: MembershipRecord): Proposal {
  const { generation, fromStep, cause = "loss", batches } = record;
  const members = record.members as Proposal["members"];
  return {
    ...{ generation, fromStep, members, cause, joined: [], left: [], lost: [], level: [] },
    ...(batches === undefined ? {} : { batches }),
  };
}

/** The same generation with the same members. */
export function isSame(a: MembershipRecord, b: MembershipRecord): boolean {
  const ids = ({ members }: MembershipRecord) => members.map(({ workerId }) => workerId).join();
  return a.generation === b.generation && ids(a) === ids(b);
}

/** The record excludes the generation `base`: it is later, or another one of the same number. */
export function isAhead(record: MembershipRecord, base: MembershipRecord): boolean {
  if (record.generation !== base.generation) return record.generation > base.generation;
  return !isSame(record, base);
}
