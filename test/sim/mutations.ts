/** Known ways to break the platform. Each must be noticed by the simulation. */
import type { Mutation } from "./lib/mutate.ts";
import type { ScenarioName } from "./lib/scenario.ts";

export interface KnownMutation extends Mutation {
  readonly scenario: ScenarioName;
  /** A seed that noticed it once: tried first. */
  readonly seenAt: number;
}

const trainer = "services/trainer/src";

export const mutations: readonly KnownMutation[] = [
  {
    scenario: "group",
    name: "a member agrees twice in one generation",
    seenAt: 175,
    file: `${trainer}/decide/agreement.ts`,
    from: "if (ballot < vote.promised) return { vote, isAccepted: false };",
    to: "",
  },
  {
    scenario: "group",
    name: "half of a generation decides alone",
    seenAt: 1,
    file: `${trainer}/decide/agreement.ts`,
    from: "if (yes * 2 > members.length)",
    to: "if (yes * 2 >= members.length)",
  },
  {
    scenario: "group",
    name: "silence counts as death",
    seenAt: 59,
    file: `${trainer}/decide/agreement.ts`,
    from: "!answered.has(workerId) && !knownDead.has(workerId),",
    to: "!answered.has(workerId) && knownDead.size < 0,",
  },
  {
    scenario: "group",
    name: "what others have accepted is forgotten",
    seenAt: 274,
    file: `${trainer}/decide/agreement.ts`,
    from: "if (highest !== undefined) return highest.proposal;",
    to: "",
  },
  {
    scenario: "group",
    name: "a generation starts from the least step that was promised",
    seenAt: 147,
    file: `${trainer}/decide/agreement.ts`,
    from: "Math.max(...promised.values())",
    to: "Math.min(...promised.values())",
  },
  {
    scenario: "group",
    name: "a join does without the record",
    seenAt: 142,
    file: `${trainer}/worker/change.ts`,
    from: "if (proposal.joined.length > 0 && !(await this.#recordAccepts(round, proposal)))",
    to: "if (proposal.joined.length < 0)",
  },
  {
    scenario: "group",
    name: "the fence is skipped: a record without this worker changes nothing",
    seenAt: 6,
    file: `${trainer}/worker/member.ts`,
    from: "    if (!isIn) {\n      this.#helpStaying(proposal);\n      this.#leave(proposal);\n      return;\n    }",
    to: "    if (!isIn) return;",
  },
  {
    scenario: "group",
    name: "a step is committed without the whole vector",
    seenAt: 1,
    file: `${trainer}/exchange/reduce.ts`,
    from: "if (this.#slicesMissing === 0) this.#options.onWhole();",
    to: "if (this.#slicesMissing === Math.min(1, this.#options.ranges.length - 1)) this.#options.onWhole();",
  },
  {
    scenario: "group",
    name: "memory that has changed meanwhile is believed",
    seenAt: 30,
    file: `${trainer}/exchange/reduce.ts`,
    from: "return Atomics.load(stamps, vector) === stamp;",
    to: "return Atomics.load(stamps, vector) !== stamp + 1e9;",
  },
  {
    scenario: "group",
    name: "a newcomer takes any step's vector for its next one",
    seenAt: 3,
    file: `${trainer}/worker/member.ts`,
    from: "return takes && step === this.#step;",
    to: "return takes;",
  },
  {
    scenario: "group",
    name: "a zombie joins again with its old state",
    seenAt: 1,
    file: `${trainer}/worker/transfer.ts`,
    from: "void this.#ports.compute.load(0, this.#inbox.floats);",
    to: "",
  },
];
