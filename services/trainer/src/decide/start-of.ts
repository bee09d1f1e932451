/** When a generation begins that was decided: at its planned step, or now, and why. */
import type { Proposal } from "./agreement.ts";

export interface StartInput {
  readonly proposal: Proposal;
  readonly workerId: string;
  readonly state: "joining" | "member" | "frozen" | "catching-up" | "gone";
  /** A joiner that holds the state. */
  readonly isReady: boolean;
  /** The present generation, and the next step to commit. */
  readonly generation: number;
  readonly step: number;
  /** Somebody is missed, or others speak of a later generation. */
  readonly isDisturbed: boolean;
}

export type Start =
  | { readonly kind: "at-its-step" }
  | {
      readonly kind: "now";
      readonly reason: "not-planned" | "reached" | "not-taken-in" | "stopped" | "disturbed";
    };

export function startOf(input: StartInput): Start {
  const { isPlanned, fromStep, members, generation } = input.proposal;
  if (!isPlanned) return { kind: "now", reason: "not-planned" };
  if (input.step >= fromStep) return { kind: "now", reason: "reached" };
  if (input.state === "joining") {
    const isIn = members.some(({ workerId }) => workerId === input.workerId);
    return isIn && input.isReady
      ? { kind: "at-its-step" }
      : { kind: "now", reason: "not-taken-in" };
  }
  const isNext = input.state === "member" && generation === input.generation + 1;
  if (!isNext) return { kind: "now", reason: "stopped" };
  return input.isDisturbed ? { kind: "now", reason: "disturbed" } : { kind: "at-its-step" };
}
