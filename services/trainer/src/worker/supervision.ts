/**
 * What a group's first member looks after beside the steps: who is slower than the others for long, and
 * whether a shard has the same bits wherever it is computed. The others tell it their pace and their
 * votes; when it is gone, the next one begins anew.
 */
import type { Member } from "../decide/agreement.ts";
import {
  type Audited,
  type AuditPlan,
  type AuditRule,
  Audits,
  auditPlanOf,
} from "../decide/audit.ts";
import { type Paces, type Slow, Stragglers } from "../decide/shares.ts";
import type { ControlMessage } from "../exchange/peers.ts";
import type { Clock } from "./clock.ts";
import type { Work } from "./compute-messages.ts";

export interface SupervisionPorts {
  readonly clock: Pick<Clock, "nowMs">;
  readonly workerId: string;
  readonly shards: number;
  /** Absent: no audits. */
  readonly audit?: AuditRule | undefined;
  readonly patienceMs: number;
  generation(): number;
  members(): readonly Member[];
  step(): number;
  /** Steps that the update of this step takes. */
  strideOf(step: number): number;
  tell(workerId: string, message: ControlMessage): void;
  /** The same members shall agree on other shares. */
  renew(): void;
  onSlowed(slow: Slow): void;
  onDiffers(audited: Audited): void;
}

/** Of the newest shard in the mean. */
const paceWeight = 0.1;
/** Shards before a pace says anything. */
const shardsMin = 16;

export class Supervision {
  readonly #ports: SupervisionPorts;
  readonly #stragglers: Stragglers;
  readonly #audits = new Audits();
  readonly #paces = new Map<string, number>();
  #weights: Paces | undefined;
  #ownMs = 0;
  #ownShards = 0;

  constructor(ports: SupervisionPorts) {
    this.#ports = ports;
    this.#stragglers = new Stragglers(ports.patienceMs);
  }

  /** Paces that shards are to be assigned by; undefined: equal shares. */
  get weights(): Paces | undefined {
    return this.#weights;
  }

  /** A new generation began: what was told in the old one was of other shares. */
  formed(): void {
    this.#paces.clear();
    const members = new Set(this.#ports.members().map(({ workerId }) => workerId));
    const isWhole = [...(this.#weights?.keys() ?? [])].every((worker) => members.has(worker));
    if (!isWhole || this.#weights?.size !== members.size) this.#weights = undefined;
  }

  /** The audit of this step, as far as it is this member's matter. */
  planOf(step: number): AuditPlan | undefined {
    const { audit, members, workerId, strideOf } = this.#ports;
    if (audit === undefined) return undefined;
    const present = members();
    const ranges = present.map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo }));
    const plan = auditPlanOf(audit, step, ranges, strideOf(step));
    const rank = present.findIndex((member) => member.workerId === workerId);
    return plan?.witnesses.includes(rank) ? plan : undefined;
  }

  worked({ shards, ms }: Work): void {
    if (shards === 0) return;
    this.#ownShards += shards;
    const weight = Math.max(paceWeight, shards / this.#ownShards);
    this.#ownMs += weight * (ms / shards - this.#ownMs);
  }

  /** This member has computed a shard that is audited. */
  witnessed(step: number, shard: number, sha256: string): void {
    this.#toFirst({ kind: "witness", generation: this.#ports.generation(), step, shard, sha256 });
  }

  #toFirst(message: ControlMessage): void {
    const { members, workerId, tell } = this.#ports;
    const first = members()[0]?.workerId;
    if (first === workerId) this.onControl(workerId, message);
    else if (first !== undefined) tell(first, message);
  }

  /** Now and then. */
  tick(): void {
    const { members, workerId, generation, clock, shards } = this.#ports;
    if (this.#ownShards < shardsMin) return;
    this.#toFirst({ kind: "pace", generation: generation(), msPerShard: this.#ownMs });
    if (members()[0]?.workerId !== workerId) return;
    const input = { shards, members: members(), paces: this.#paces };
    const decision = this.#stragglers.look(clock.nowMs(), input);
    if (decision.kind === "keep") return;
    this.#weights = decision.weights;
    for (const slow of decision.slow) this.#ports.onSlowed(slow);
    this.#ports.renew();
  }

  /** True when the message was for here. */
  onControl(from: string, message: ControlMessage): boolean {
    if (message.kind !== "pace" && message.kind !== "witness") return false;
    if (message["generation"] !== this.#ports.generation()) return true;
    if (message.kind === "pace") this.#paces.set(from, Number(message["msPerShard"]));
    else this.#onWitness(from, message);
    return true;
  }

  #onWitness(workerId: string, message: ControlMessage): void {
    const { audit, members, onDiffers, strideOf } = this.#ports;
    const at = { step: Number(message["step"]), shard: Number(message["shard"]) };
    const ranges = members().map(({ shardFrom, shardTo }) => ({ from: shardFrom, to: shardTo }));
    const plan = audit && auditPlanOf(audit, at.step, ranges, strideOf(at.step));
    if (plan?.shard !== at.shard) return;
    const vote = { workerId, sha256: String(message["sha256"]) };
    const audited = this.#audits.add(at, plan.witnesses.length, vote);
    if (audited?.verdict.kind === "differs") onDiffers(audited);
  }
}
