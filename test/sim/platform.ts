/**
 * Seeded chaos on the whole platform: every service's real loop, the real bus code, the workers'
 * real ledger and checkpoints. What must hold: see `platform/invariants.ts`; and each job ends once
 * the faults are over.
 */
import { isEnded } from "@coxswain/domain";
import { randomFor } from "./lib/random.ts";
import { type Outcome, planOf, type RunOptions } from "./lib/scenario.ts";
import { heal, inject, loseForGood, stopAtDecision } from "./platform/faults.ts";
import { Users } from "./platform/users.ts";
import { PlatformWorld } from "./platform/world.ts";

const chaosMs = 25_000;
const calmMs = 240_000;
const jobsMax = 3;
const submitUntilMs = 8000;
const resumeEveryMs = 2000;
/** Second plans, of some seeds, so that those without them stay as they are. */
const stopsOptions = { untilMs: chaosMs, everyMs: 4000, name: "stops", firstIndex: 1000 } as const;
const stopName = "scheduler stops before it says what it decided";
const hasStops = (seed: number) => seed % 12 === 2;
const lossOptions = { untilMs: chaosMs, everyMs: 9000, name: "loss", firstIndex: 2000 } as const;
const lossName = "node lost for good, clocks set back";
const hasLoss = (seed: number) => seed % 12 === 8;

function isOver(world: PlatformWorld, users: Users): boolean {
  return (
    world.nowMs > chaosMs &&
    users.areServed &&
    world.invariants.jobs.size > 0 &&
    world.invariants.areAllEnded
  );
}

/** What the platform has promised. */
function checkPromises(world: PlatformWorld, users: Users): string | undefined {
  for (const id of users.acknowledged)
    if (!world.invariants.jobs.has(id)) return `${id} was acknowledged and is not in the log`;
  for (const job of world.invariants.jobs.values()) {
    if (job.state.kind === "failed")
      return `${job.id} failed: ${job.state.error.code}: ${job.state.error.message}`;
    world.invariants.audit(job.id);
  }
  return undefined;
}

const brief = (world: PlatformWorld) =>
  [...world.invariants.jobs.values()]
    .filter((job) => !isEnded(job))
    .map(({ id, state, placement }) => `${id} ${JSON.stringify(state)} ${placement.length} placed`)
    .join("; ");

export async function run(options: RunOptions): Promise<Outcome> {
  const { seed } = options;
  const world = new PlatformWorld(seed);
  const random = randomFor(seed, "users");
  const users = new Users(world, random);
  const plan = planOf(options, { untilMs: chaosMs, everyMs: 1200 });
  const stops = hasStops(seed) ? planOf(options, stopsOptions) : [];
  const losses = hasLoss(seed) ? planOf(options, lossOptions).slice(0, 1) : [];
  const count = (name: string) => {
    faults[name] = (faults[name] ?? 0) + 1;
  };
  const faults: Record<string, number> = {};
  for (let job = 1; job <= 1 + (seed % jobsMax); job += 1)
    world.at(random() * submitUntilMs, () => users.submit(`job${job}`));
  for (const planned of plan)
    world.at(planned.atMs, () => {
      const done = inject(world, users, planned);
      if (done !== undefined) count(done);
    });
  for (const planned of stops)
    world.at(planned.atMs, () => {
      stopAtDecision(world, users, planned);
      count(stopName);
    });
  for (const planned of losses)
    world.at(planned.atMs, () => {
      loseForGood(world, planned);
      count(lossName);
    });
  world.at(chaosMs, () => heal(world));
  const resume = () => {
    users.resumeAll();
    world.at(resumeEveryMs, resume);
  };
  world.at(chaosMs, resume);
  const onError = (error: unknown) => world.fail(String((error as Error).stack ?? error));
  process.on("unhandledRejection", onError);
  let violation: string | undefined;
  try {
    const hasEnded = await world.run(() => isOver(world, users), chaosMs + calmMs);
    violation = hasEnded
      ? checkPromises(world, users)
      : `not all jobs end after the last fault: ${brief(world)}`;
    // A breach that the last look found.
    await world.run(() => true, 0);
  } catch (error) {
    violation = error instanceof Error ? error.message : String(error);
  } finally {
    process.off("unhandledRejection", onError);
  }
  const planned = [...plan, ...stops, ...losses].map(({ index }) => index);
  return { seed, events: world.events, planned, faults, violation, trace: world.log };
}
