/**
 * The audit against silent corruption: every so many steps, one shard is computed on other members too,
 * and the bits are compared. Bitwise equality is what makes it possible.
 *
 * With three members or more, two others compute the shard: two of three votes name who is wrong. With
 * two members one other does: that the two differ is known, which of them is wrong is not.
 */
import { philox } from "@coxswain/domain";
import type { ShardRange } from "./shards.ts";

export interface AuditRule {
  readonly seed: number;
  readonly everySteps: number;
}

export interface AuditPlan {
  readonly shard: number;
  /** Ranks that say what the shard's bits are: the one whose shard it is, then the others. */
  readonly witnesses: readonly number[];
}

const purpose = 0x0a0d17;
const othersMax = 2;

/** The audit of this update, the same for every member; undefined when none is due. */
export function auditPlanOf(
  { seed, everySteps }: AuditRule,
  step: number,
  ranges: readonly ShardRange[],
  stride = 1,
): AuditPlan | undefined {
  const count = ranges.length;
  const isDue = Math.ceil(step / everySteps) * everySteps < step + stride;
  if (count < 2 || !isDue) return undefined;
  const words = new Uint32Array(4);
  philox([step, 0, 0, purpose], seed, 0, words);
  const shard = words[0]! % ranges.at(-1)!.to;
  const owner = ranges.findIndex(({ from, to }) => from <= shard && shard < to);
  const offset = words[1]! % (count - 1);
  const others = Array.from(
    { length: Math.min(othersMax, count - 1) },
    (_, index) => (owner + 1 + ((offset + index) % (count - 1))) % count,
  );
  return { shard, witnesses: [owner, ...others] };
}

export interface Vote {
  readonly workerId: string;
  /** SHA-256 of the shard's vector. */
  readonly sha256: string;
}

export type AuditVerdict =
  | { readonly kind: "equal" }
  /** `workerId` is who stands alone against two; undefined when that cannot be said. */
  | { readonly kind: "differs"; readonly workerId: string | undefined; readonly reason: string };

export function verdictOf(votes: readonly Vote[]): AuditVerdict {
  const count = (sha256: string) => votes.filter((vote) => vote.sha256 === sha256).length;
  if (votes.every(({ sha256 }) => count(sha256) === votes.length)) return { kind: "equal" };
  const names = votes.map(({ workerId }) => workerId).join(", ");
  const alone = votes.filter(({ sha256 }) => count(sha256) === 1);
  if (votes.length > 2 && alone.length === 1)
    return {
      kind: "differs",
      workerId: alone[0]!.workerId,
      reason: `${alone[0]!.workerId} stands alone among ${names}`,
    };
  return {
    kind: "differs",
    workerId: undefined,
    reason: `${names} differ; who of them is wrong cannot be known without a third that agrees with one`,
  };
}

export interface Audited {
  readonly step: number;
  readonly shard: number;
  readonly votes: readonly Vote[];
  readonly verdict: AuditVerdict;
}

/** Audits whose votes are still coming; older ones are given up, as after a change of members. */
const openMax = 16;

/** Gathers votes. */
export class Audits {
  readonly #open = new Map<string, Vote[]>();

  /** The verdict, once all `wanted` votes are in. */
  add(
    at: { readonly step: number; readonly shard: number },
    wanted: number,
    vote: Vote,
  ): Audited | undefined {
    const key = `${at.step} ${at.shard}`;
    const votes = this.#open.get(key) ?? [];
    if (votes.some(({ workerId }) => workerId === vote.workerId)) return undefined;
    votes.push(vote);
    this.#open.set(key, votes);
    for (const oldest of this.#open.keys()) {
      if (this.#open.size <= openMax) break;
      this.#open.delete(oldest);
    }
    if (votes.length < wanted) return undefined;
    this.#open.delete(key);
    return { ...at, votes, verdict: verdictOf(votes) };
  }
}
