/**
 * The named scenarios of docs/scenarios.md, on simulated time. In each, every worker checks after every
 * step that it applied each step once, in order, with the oracle's bits; so a story only says who
 * lives, who decides, and who waits.
 */
import { deepEqual, equal, ok } from "node:assert/strict";
import { test } from "node:test";
import type { ExchangeMode } from "../../services/trainer/src/decide/shards.ts";
import { oracleOf, SimWorker, World } from "./group-world.ts";

const steps = 150;
const oracle = oracleOf(steps);
const limitMs = 120_000;
/** Each story is told with other delays, half of them over shared memory. */
const seeds = [1, 2, 3, 4, 5, 6, 7, 8];
/** A seed that has shown what the story is about, when the code was broken. */
const moreSeeds: Readonly<Record<string, readonly number[]>> = {
  "a donor cut off with a step that nobody else has: its newcomer starts over": [213],
  "leave: nobody stops, and who leaves computes up to that step": [53, 90],
  "hot standby: a member that leaves is replaced in the same generation": [12, 55],
};
/** With `fast` nobody has the oracle's bits, but all members have the same. */
const modes = ["exact", "fast"] as const;

class Story {
  readonly world: World;

  constructor(seed: number, exchange: ExchangeMode) {
    this.world = new World(seed, steps, oracle, exchange);
  }

  worker(id: string): SimWorker {
    return this.world.workers.get(id)!;
  }

  start(...ids: string[]): void {
    for (const id of ids) new SimWorker(this.world, id);
  }

  async until(what: string, isSo: () => boolean): Promise<void> {
    const happened = await this.world.run(isSo, this.world.nowMs + limitMs);
    ok(happened, `${what}\n${this.world.log.slice(-20).join("\n")}`);
  }

  /** All of these, and nobody else, are one generation. */
  areMembers(...ids: string[]): boolean {
    const wanted = ids.toSorted().join();
    return ids.every((id) => {
      const { how, group } = this.worker(id);
      const members = group.members.map(({ workerId }) => workerId);
      return how === undefined && group.state === "member" && members.toSorted().join() === wanted;
    });
  }

  async members(...ids: string[]): Promise<void> {
    await this.until(`${ids} are members`, () => this.areMembers(...ids));
  }

  /** A group of these workers that has found its pace; so calmly that it has most steps before it. */
  async group(...ids: string[]): Promise<void> {
    const { isCalm } = this.world;
    this.world.isCalm = true;
    this.start(...ids);
    await this.members(...ids);
    await this.commits(ids[0]!, 3);
    this.world.isCalm = isCalm;
  }

  async commits(id: string, count: number): Promise<void> {
    const from = this.worker(id).group.step;
    await this.until(
      `${id} commits ${count} steps`,
      () => this.worker(id).group.step >= from + count,
    );
  }

  /** Until it is so; meanwhile none of these stops committing. */
  async smoothly(ids: readonly string[], what: string, isSo: () => boolean): Promise<void> {
    const stopped = new Set<string>();
    await this.until(what, () => {
      for (const id of ids) if (this.worker(id).group.state === "frozen") stopped.add(id);
      return isSo();
    });
    deepEqual([...stopped], []);
  }

  kill(...ids: string[]): void {
    for (const id of ids) this.worker(id).end("killed");
  }

  /** Who hands newcomers the state: the first member of the generation that this one is in. */
  donorOf(id: string): string {
    return this.worker(id).group.members[0]!.workerId;
  }

  partition(side: readonly string[], other: readonly string[]): void {
    for (const a of side) for (const b of other) this.world.cut(a, b);
  }

  /** The last committed step of the workers that live. */
  get step(): number {
    return Math.max(...this.world.alive().map(({ group }) => group.step));
  }

  async trainsToTheEnd(...ids: string[]): Promise<void> {
    await this.until("training ends", () => ids.every((id) => this.worker(id).isTrained));
    deepEqual(
      ids.map((id) => this.worker(id).how),
      ids.map(() => undefined),
      "no survivor restarts",
    );
    await this.until("the log tells of it", () => this.world.facts.toldStep === steps);
    equal(this.world.facts.audit(), undefined);
  }
}

const stories: Record<string, (story: Story) => Promise<void>> = {
  "loss: the others finish the step that they are in": async (story) => {
    await story.group("a", "b", "c");
    const before = story.step;
    story.kill("b");
    await story.members("a", "c");
    ok(story.worker("a").group.step >= before, "no step is lost");
    await story.trainsToTheEnd("a", "c");
  },
  "loss of one of two: the survivor decides with the record": async (story) => {
    await story.group("a", "b");
    story.kill("a");
    await story.members("b");
    equal(story.world.record?.value.generation, story.worker("b").group.generation);
    await story.trainsToTheEnd("b");
  },
  "loss of one of two while the bus is away: the survivor waits for the record": async (story) => {
    await story.group("a", "b");
    story.worker("b").isBusAway = true;
    story.kill("a");
    await story.until("b has noticed", () => story.worker("b").group.state === "frozen");
    const { step } = story.worker("b").group;
    story.world.at(5000, () => {
      equal(story.worker("b").group.step, step);
      story.worker("b").isBusAway = false;
    });
    await story.members("b");
    await story.trainsToTheEnd("b");
  },
  "simultaneous loss of two of five: one new generation": async (story) => {
    await story.group("a", "b", "c", "d", "e");
    story.kill("b", "d");
    await story.members("a", "c", "e");
    await story.trainsToTheEnd("a", "c", "e");
  },
  "simultaneous loss of three of five: the rest decides once they are known to be dead": async (
    story,
  ) => {
    await story.group("a", "b", "c", "d", "e");
    story.kill("a", "b", "c");
    const areDead = () => ["a", "b", "c"].every((id) => story.world.knownDead.has(id));
    await story.until("nobody decides before", () => {
      if (!areDead()) equal(story.areMembers("d", "e"), false);
      return areDead();
    });
    await story.members("d", "e");
    await story.trainsToTheEnd("d", "e");
  },
  "loss during a join: the newcomer is taken in by those who are left": async (story) => {
    await story.group("a", "b", "c");
    story.start("d");
    await story.until("d asks to be taken in", () => story.worker("d").group.isReady);
    story.kill("b");
    // Taken in while it gives up, a newcomer is shut out again; its node starts another.
    await story.until("d, or who starts in its stead, is a member", () => {
      if (story.worker("d").how !== undefined && story.worker("e") === undefined) story.start("e");
      const newcomer = story.worker("e") === undefined ? "d" : "e";
      return story.areMembers("a", "c", newcomer);
    });
    await story.trainsToTheEnd("a", "c");
  },
  "loss of the newcomer during its join: nobody waits for it": async (story) => {
    await story.group("a", "b", "c");
    story.start("d");
    await story.until("d asks to be taken in", () => story.worker("d").group.isReady);
    story.kill("d");
    await story.members("a", "b", "c");
    await story.trainsToTheEnd("a", "b", "c");
  },
  "loss of the donor: the newcomer asks another one": async (story) => {
    await story.group("a", "b", "c");
    story.start("d");
    const donor = story.donorOf("a");
    await story.until("d is on its way", () => story.worker("d").isConnected(donor));
    story.kill(donor);
    const rest = ["a", "b", "c", "d"].filter((id) => id !== donor);
    await story.members(...rest);
    await story.trainsToTheEnd(...rest);
  },
  "a donor cut off with a step that nobody else has: its newcomer starts over": async (story) => {
    await story.group("a", "b", "c");
    const busIsAway = (isAway: boolean) => {
      for (const id of ["a", "b", "c"]) story.worker(id).isBusAway = isAway;
    };
    busIsAway(true); // So that d follows, and is not taken in.
    story.start("d");
    const stepOf = (id: string) => story.worker(id).group.step;
    await story.until("d follows, and a has a step that b and c have not", () => {
      const others = Math.max(stepOf("b"), stepOf("c"));
      return stepOf("d") > 0 && stepOf("a") > others;
    });
    story.partition(["a"], ["b", "c"]);
    busIsAway(false);
    await story.until("d has it too", () => stepOf("d") === stepOf("a"));
    await story.until("d, or who starts in its stead, is a member", () => {
      if (story.worker("d").how !== undefined && story.worker("e") === undefined) story.start("e");
      const newcomer = story.worker("e") === undefined ? "d" : "e";
      return story.areMembers("b", "c", newcomer);
    });
    await story.trainsToTheEnd("b", "c");
  },
  "loss while committing, of who is ahead: the others compute the step again": async (story) => {
    await story.group("a", "b", "c");
    const ahead = await oneAhead(story, ["a", "b", "c"]);
    story.kill(ahead);
    const rest = ["a", "b", "c"].filter((id) => id !== ahead);
    await story.members(...rest);
    await story.trainsToTheEnd(...rest);
  },
  "loss while committing, of who is behind: who is ahead hands the step on": async (story) => {
    await story.group("a", "b", "c");
    const ahead = await oneAhead(story, ["a", "b", "c"]);
    const { step } = story.worker(ahead).group;
    const behind = ["a", "b", "c"].filter((id) => story.worker(id).group.step < step);
    story.kill(behind.at(-1)!);
    const rest = ["a", "b", "c"].filter((id) => id !== behind.at(-1));
    await story.members(...rest);
    ok(story.worker(rest[0]!).group.step >= step, "a step that lives is not undone");
    await story.trainsToTheEnd(...rest);
  },
  "loss of who proposes the new generation: the next one takes over": async (story) => {
    await story.group("a", "b", "c", "d", "e");
    story.kill("e");
    await story.until("b has promised", () => story.worker("b").group.state === "frozen");
    story.kill("a");
    await story.members("b", "c", "d");
    await story.trainsToTheEnd("b", "c", "d");
  },
  "join: nobody stops, the newcomer is in from a step that was agreed ahead": async (story) => {
    story.world.isCalm = true;
    await story.group("a", "b", "c");
    story.start("d");
    await story.smoothly(["a", "b", "c"], "d is a member", () =>
      story.areMembers("a", "b", "c", "d"),
    );
    await story.trainsToTheEnd("a", "b", "c", "d");
  },
  "leave: nobody stops, and who leaves computes up to that step": async (story) => {
    story.world.isCalm = true;
    await story.group("a", "b", "c");
    story.worker("b").leave();
    await story.smoothly(["a", "c"], "b is out", () => story.areMembers("a", "c"));
    await story.until("b has left", () => story.worker("b").how === "left");
    const lastOf = (id: string) => {
      const told = story.world.log.findLast((line) => line.includes(`${id} generation formed`))!;
      return JSON.parse(told.slice(told.indexOf("{"))) as { fromStep: number; step: number };
    };
    const { fromStep } = lastOf("a");
    for (const id of ["a", "c"]) equal(lastOf(id).step, fromStep);
    // They may have hung up before it has seen what came of its last part.
    ok(lastOf("b").step >= fromStep - 1);
    await story.trainsToTheEnd("a", "c");
  },
  "loss while a change is planned: the generation begins where it stands, without the lost": async (
    story,
  ) => {
    await story.group("a", "b", "c", "d");
    story.worker("b").leave();
    await story.until("all know the plan", () =>
      ["a", "b", "c", "d"].every((id) => story.worker(id).group.isPlanned),
    );
    const { step, generation } = story.worker("a").group;
    story.kill("c");
    await story.members("a", "d");
    ok(story.worker("a").group.step >= step, "no step is lost");
    equal(story.worker("a").group.generation, generation + 2);
    await story.trainsToTheEnd("a", "d");
  },
  "loss of all members while a join is planned: the newcomer tells no step that nobody has committed":
    async (story) => {
      await story.group("a", "b");
      story.start("c");
      await story.until("c knows the plan", () => story.worker("c").group.isPlanned);
      story.kill("a", "b");
      await story.members("c");
      await story.trainsToTheEnd("c");
    },
  "a newcomer cut off from those who go on and die: it undoes nothing that is told, and starts over":
    async (story) => {
      await story.group("a", "b");
      story.start("c");
      await story.until("c knows the plan", () => story.worker("c").group.isPlanned);
      story.partition(["c"], ["a", "b"]);
      const { generation } = story.worker("a").group;
      const { facts } = story.world;
      await story.until("the log tells of the planned generation", () =>
        facts.events.some(
          ({ name, payload }) =>
            name === "training.generation-formed" && payload.generation > generation,
        ),
      );
      const told = facts.toldStep;
      ok(story.worker("c").group.step < told - 1);
      story.kill("a", "b");
      await story.until("c has given up", () => story.worker("c").how === "fenced");
      equal(facts.toldStep, told);
      story.start("d");
      await story.trainsToTheEnd("d");
    },
  "loss of who leaves before its last step: the others go on from where they are": async (
    story,
  ) => {
    await story.group("a", "b", "c");
    story.worker("b").leave();
    await story.until("all know the plan", () =>
      ["a", "b", "c"].every((id) => story.worker(id).group.isPlanned),
    );
    const { step } = story.worker("a").group;
    const killedAtMs = story.world.nowMs;
    story.kill("b");
    await story.members("a", "c");
    ok(story.worker("a").group.step >= step, "no step is lost");
    ok(story.world.nowMs - killedAtMs < 1000, "nobody waits for a step that cannot come");
    await story.trainsToTheEnd("a", "c");
  },
  "leave: the others go on, nothing is computed twice": async (story) => {
    await story.group("a", "b", "c");
    story.worker("a").leave();
    await story.members("b", "c");
    await story.until("a has left", () => story.worker("a").how === "left");
    await story.trainsToTheEnd("b", "c");
  },
  "loss during a leave: both are out": async (story) => {
    await story.group("a", "b", "c", "d", "e");
    story.worker("a").leave();
    story.kill("b");
    await story.members("c", "d", "e");
    await story.trainsToTheEnd("c", "d", "e");
  },
  "partition three to two: the majority goes on without the bus, the others never": async (
    story,
  ) => {
    await story.group("a", "b", "c", "d", "e");
    // The bus stays with the smaller side, so that the record could tempt it.
    for (const id of ["a", "b", "c"]) story.worker(id).isBusAway = true;
    story.partition(["a", "b", "c"], ["d", "e"]);
    await story.members("a", "b", "c");
    const step = Math.max(story.worker("d").group.step, story.worker("e").group.step);
    await story.commits("a", 5);
    ok(Math.max(story.worker("d").group.step, story.worker("e").group.step) <= step + 1);
    for (const id of ["a", "b", "c"]) story.worker(id).isBusAway = false;
    story.world.cuts.clear();
    await story.until("the others are out", () =>
      ["d", "e"].every((id) => story.worker(id).how === "fenced"),
    );
    await story.trainsToTheEnd("a", "b", "c");
  },
  "partition in halves: the side that reaches the record goes on": async (story) => {
    await story.group("a", "b", "c", "d");
    for (const id of ["a", "b"]) story.worker(id).isBusAway = true;
    story.partition(["a", "b"], ["c", "d"]);
    await story.members("c", "d");
    await story.commits("c", 5);
    ok(!story.areMembers("a", "b"));
    for (const id of ["a", "b"]) {
      story.worker(id).isBusAway = false;
      story.worker(id).watchRecord();
    }
    story.world.cuts.clear();
    await story.until("the others are out", () =>
      ["a", "b"].every((id) => story.worker(id).how === "fenced"),
    );
    await story.trainsToTheEnd("c", "d");
  },
  "zombie: stopped and gone on without, it is shut out when it wakes up": async (story) => {
    await story.group("a", "b", "c");
    story.worker("a").pause();
    await story.members("b", "c");
    await story.commits("b", 5);
    story.worker("a").resume();
    await story.until("a is out", () => story.worker("a").how !== undefined);
    equal(story.worker("a").how, "fenced");
    await story.trainsToTheEnd("b", "c");
  },
  "a straggler gives shards away, and stays a member": async (story) => {
    await story.group("a", "b", "c", "d");
    const shardsOf = (id: string) => {
      const own = story.worker("a").group.members.find(({ workerId }) => workerId === id)!;
      return own.shardTo - own.shardFrom;
    };
    equal(shardsOf("c"), 2);
    story.worker("c").slowness = 30;
    await story.until("c has one shard", () => shardsOf("c") === 1);
    await story.members("a", "b", "c", "d");
    await story.trainsToTheEnd("a", "b", "c", "d");
  },
  "a loss and a newcomer while the bus is away: the loss is decided, the join waits": async (
    story,
  ) => {
    await story.group("a", "b", "c", "d");
    story.start("e");
    await story.until("e asks to be taken in", () => story.worker("e").group.isReady);
    const isIn = story.areMembers("a", "b", "c", "d", "e");
    for (const id of ["a", "b", "c", "d"]) story.worker(id).isBusAway = true;
    story.kill("d");
    await story.until("they go on without d", () =>
      story.worker("a").group.members.every(({ workerId }) => workerId !== "d"),
    );
    await story.commits("a", 3);
    for (const id of ["a", "b", "c"]) story.worker(id).isBusAway = false;
    await story.members("a", "b", "c", "e");
    equal(isIn, false);
    await story.trainsToTheEnd("a", "b", "c", "e");
  },
  "hot standby: who stands by takes a lost member's place in the next generation": async (
    story,
  ) => {
    story.world.trainingMax = 3;
    story.world.isCalm = true; // The record answers in time.
    await story.group("a", "b", "c");
    story.start("d");
    await story.until("d stands by", () => story.worker("d").group.standsBy);
    await story.commits("a", 10); // Longer than its word is fresh: it says so again.
    equal(story.areMembers("a", "b", "c"), true);
    const { generation, members } = story.worker("a").group;
    const lost = members.at(-1)!.workerId;
    story.kill(lost);
    const rest = ["a", "b", "c", "d"].filter((id) => id !== lost);
    await story.members(...rest);
    equal(story.worker("d").group.generation, generation + 1);
    await story.trainsToTheEnd(...rest);
  },
  "hot standby: it takes the place of its own donor": async (story) => {
    story.world.trainingMax = 3;
    await story.group("a", "b", "c");
    story.start("d");
    await story.until("d stands by", () => story.worker("d").group.standsBy);
    const donor = story.donorOf("a");
    story.kill(donor);
    const rest = ["a", "b", "c", "d"].filter((id) => id !== donor);
    await story.members(...rest);
    await story.trainsToTheEnd(...rest);
  },
  "hot standby: a donor lost and found again has forgotten it, so it starts over": async (
    story,
  ) => {
    story.world.trainingMax = 3;
    await story.group("a", "b", "c");
    story.start("d");
    await story.until("d stands by", () => story.worker("d").group.standsBy);
    const donor = story.donorOf("a");
    story.partition(["d"], [donor]);
    story.world.cuts.clear();
    await story.until("both have noticed", () => !story.worker("d").isConnected(donor));
    await story.until("they are connected again", () => story.worker("d").isConnected(donor));
    const leaves = story.worker("a").group.members.at(-1)!.workerId;
    story.worker(leaves).leave();
    const stay = ["a", "b", "c"].filter((id) => id !== leaves);
    // Taken in while it starts over, it is shut out again; its node starts another.
    await story.until("d, or who starts in its stead, is a member", () => {
      if (story.worker("d").how !== undefined && story.worker("e") === undefined) story.start("e");
      const newcomer = story.worker("e") === undefined ? "d" : "e";
      return story.areMembers(...stay, newcomer);
    });
    await story.trainsToTheEnd(...stay);
  },
  "hot standby: out of a pair, the survivor decides with the record and takes it in then": async (
    story,
  ) => {
    story.world.trainingMax = 2;
    await story.group("a", "b");
    story.start("c");
    await story.until("c stands by", () => story.worker("c").group.standsBy);
    story.kill("b");
    await story.members("a", "c");
    await story.trainsToTheEnd("a", "c");
  },
  "hot standby: all members dead, who stands by goes on from what they committed last": async (
    story,
  ) => {
    story.world.trainingMax = 2;
    story.world.isCalm = true;
    await story.group("a", "b");
    story.start("c");
    await story.until("c stands by", () => story.worker("c").group.standsBy);
    await story.commits("a", 5);
    const { step } = story.worker("c").group;
    story.kill("a", "b");
    await story.members("c");
    ok(story.worker("c").group.step >= step, "no step is lost");
    ok(story.world.record!.value.fromStep >= step, "it does not start over");
    await story.trainsToTheEnd("c");
  },
  "hot standby while the bus is away: the loss is decided without it": async (story) => {
    story.world.trainingMax = 3;
    await story.group("a", "b", "c");
    story.start("d");
    await story.until("d stands by", () => story.worker("d").group.standsBy);
    for (const worker of story.world.alive()) worker.isBusAway = true;
    story.kill("b");
    await story.members("a", "c");
    for (const worker of story.world.alive()) worker.isBusAway = false;
    await story.members("a", "c", "d");
    await story.trainsToTheEnd("a", "c", "d");
  },
  "hot standby: a member that leaves is replaced in the same generation": async (story) => {
    story.world.trainingMax = 2;
    await story.group("a", "b");
    story.start("c");
    await story.until("c stands by", () => story.worker("c").group.standsBy);
    await story.commits("a", 20); // Every member has heard of it.
    const { generation } = story.worker("a").group;
    const leaves = story.donorOf("a");
    const stays = leaves === "a" ? "b" : "a";
    story.worker(leaves).leave();
    await story.members(stays, "c");
    // The simulated record loses an answer now and then: then one is taken in right after.
    const isHeard = !story.world.log.some((line) => line.includes("the bus is away"));
    if (isHeard) equal(story.worker(stays).group.generation, generation + 1);
    await story.trainsToTheEnd(stays, "c");
  },
};

/** Runs to the moment at which one member has committed a step that another has not. */
async function oneAhead(story: Story, ids: readonly string[]): Promise<string> {
  const stepsOf = () => ids.map((id) => story.worker(id).group.step);
  await story.until("one is ahead", () => new Set(stepsOf()).size > 1);
  return ids[stepsOf().indexOf(Math.max(...stepsOf()))]!;
}

for (const [name, tell] of Object.entries(stories)) {
  test(name, async () => {
    for (const mode of modes)
      for (const seed of [...seeds, ...(moreSeeds[name] ?? [])]) {
        const story = new Story(seed, mode);
        await tell(story).catch((cause: unknown) => {
          throw new Error(`${mode}, with seed ${seed}: ${(cause as Error).message}`, { cause });
        });
      }
  });
}
