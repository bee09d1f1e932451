/** Seeds that have found a bug once: run first, each time. */
import type { ScenarioName } from "./lib/scenario.ts";

export interface Regression {
  readonly scenario: ScenarioName;
  readonly seed: number;
  readonly only?: readonly number[];
  /** What was wrong. */
  readonly why: string;
}

export const regressions: readonly Regression[] = [
  {
    scenario: "group",
    seed: 66,
    why: "a newcomer whose proposer died at once started over and waited for itself",
  },
  {
    scenario: "group",
    seed: 701_383,
    only: [0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 14, 15, 16, 17],
    why: "who stood by found its lost donor again, which had forgotten it, and all waited for it",
  },
  {
    scenario: "group",
    seed: 174,
    only: [1, 3, 4, 5, 6],
    why: "a newcomer cut off from who fed it decided alone, and undid steps that the others had gone on to",
  },
  {
    scenario: "group",
    seed: 134,
    only: [0, 1, 2, 4, 5, 10, 11, 12, 13],
    why: "the same, after its generation had been replaced once",
  },
  {
    scenario: "group",
    seed: 7,
    why: "a newcomer told a generation that never began, with steps that nobody had committed",
  },
  {
    scenario: "group",
    seed: 2891,
    only: [0, 1, 2, 12, 14],
    why: "who started over told, much later, a generation that it had followed and only the dead had known",
  },
  {
    scenario: "group-batches",
    seed: 20,
    only: [0, 3, 5, 7, 9, 10, 14],
    why: "who started over believed in a batch that was accepted, though the log told another one",
  },
  {
    scenario: "platform",
    seed: 16,
    why: "an older checkpoint was committed after a newer one, and its files taken for orphans",
  },
  { scenario: "platform", seed: 17, why: "the ledger's loop span when a timer rang a hair early" },
  {
    scenario: "platform",
    seed: 25,
    why: "a request that came behind the end of training made every later decision a conflict",
  },
  {
    scenario: "platform",
    seed: 28,
    why: "a request for the last sequence that timed out ended the scheduler",
  },
  {
    scenario: "platform",
    seed: 54,
    why: "a later generation wrote its manifest over one that was named",
  },
  {
    scenario: "platform",
    seed: 77,
    why: "after its clock was set back, the scheduler took every node for silent",
  },
  {
    scenario: "platform",
    seed: 84,
    why: "a part that a later generation took over from an older one of its step was removed",
  },
  {
    scenario: "platform",
    seed: 111,
    why: "a job that stopped before its workers were started waited for them for ever",
  },
  {
    scenario: "platform",
    seed: 424,
    why: "what a commit pruned when it was delivered again was removed and not told",
  },
  {
    scenario: "platform",
    seed: 640,
    why: "a scheduler that the bus had kept from hearing took all workers for dead",
  },
  {
    scenario: "platform",
    seed: 1616,
    why: "a job that should stop waited for ever for workers on a lost node",
  },
  {
    scenario: "platform",
    seed: 2045,
    why: "the audit lost the steps behind a checkpoint of a generation that did none itself",
  },
];
