/** Time as an argument, less what a group must not look at: the wall clock. */
import { type Clock as BusClock, systemClock } from "@coxswain/bus";

export type Clock = Pick<BusClock, "nowMs" | "delay">;
export const realClock: Clock = systemClock;
