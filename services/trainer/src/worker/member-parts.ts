/** What a member is made of, wired: each part sees of the others what it needs. */
import type { MembershipRecord } from "@coxswain/bus";
import type { Member, Proposal } from "../decide/agreement.ts";
import { patienceMsDefault } from "../decide/shares.ts";
import type { Updates } from "../decide/updates.ts";
import { Change } from "./change.ts";
import { Donor, ReducedInbox } from "./follow.ts";
import { LastStep } from "./last-step.ts";
import type { MemberPorts } from "./member-ports.ts";
import { StepExchange } from "./step-exchange.ts";
import { Supervision } from "./supervision.ts";

/** What the parts ask of the member, and tell it. */
export interface MemberSelf {
  generation(): number;
  members(): readonly Member[];
  /** The next step to commit. */
  step(): number;
  /** It has begun no step as a member. */
  isNew(): boolean;
  /** It cannot go on. */
  giveUp(): void;
  readonly updates: Updates;
  decided(): Proposal | undefined;
  planned(): Proposal | undefined;
  isTraining(): boolean;
  switchStep(): number | undefined;
  freeze(): void;
  decide(proposal: Proposal, agreedMs: number): void;
  breakPlan(): void;
  seeRecord(record: MembershipRecord): void;
  isExpected(step: number): boolean;
  received(step: number): Promise<void>;
  commit(step: number): void;
}

export interface MemberParts {
  readonly change: Change;
  readonly supervision: Supervision;
  readonly donor: Donor;
  readonly exchange: StepExchange;
  readonly lastStep: LastStep;
  readonly reducedInbox: ReducedInbox;
}

export function buildParts(ports: MemberPorts, self: MemberSelf): MemberParts {
  const { me, shards, peers, compute, compiled, ledger, vectors, kernels, sharing } = ports;
  const { vectorFloats } = compiled.layout;
  const { workerId } = me;
  const tell: typeof peers.tell = (to, message) => peers.tell(to, message);
  const supervision = new Supervision({
    ...{ workerId, shards, tell, clock: ports.clock, audit: ports.audit },
    ...{ generation: self.generation, members: self.members, step: self.step },
    strideOf: (step) => self.updates.at(step).steps,
    patienceMs: ports.patienceMs ?? patienceMsDefault,
    renew: () => change.rearrange(),
    onSlowed: (slow) => ports.onSlowed?.(slow),
    onDiffers: (audited) => ports.onDiffers?.(audited),
  });
  const change: Change = new Change({
    ...self,
    ...{ workerId, shards, tell, clock: ports.clock, record: ports.record, log: ports.log },
    trainingMax: () => ports.trainingMax?.(),
    isConnected: (other) => peers.isConnected(other),
    knownDead: ports.knownDead,
    toldStep: () => ledger.toldStep,
    paces: () => supervision.weights,
  });
  const donor = new Donor({
    ...{ peers, compute, shards, vectors, layout: compiled.layout, step: self.step },
    updates: self.updates,
    isMappedBy: (other) => sharing?.isMappedBy(other) === true,
    generations: () => ledger.generations,
    programHash: compiled.hash,
  });
  const reducedInbox = new ReducedInbox({
    ...{ vectors, kernels, shards, isExpected: self.isExpected, onWhole: self.received },
    turnOf: (step) => self.updates.turnOf(step),
    windowOf: (other) => sharing?.windowOf(other),
    onRead: (other, step) => peers.tell(other, { kind: "read", step }),
  });
  const onWhole = (step: number) => self.commit(step);
  return {
    ...{ change, supervision, donor, reducedInbox },
    exchange: new StepExchange({ ...ports, ...self, workerId, vectorFloats, onWhole }),
    lastStep: new LastStep({ ...ports, ...self, workerId }),
  };
}
