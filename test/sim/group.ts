/**
 * Seeded chaos on a job's group: kills, pauses, leaves, cuts between workers, a bus that is away.
 * What must hold: one generation at a time, the oracle's bits, a log that tells each step once and none
 * that is not committed, and an end once the faults are over.
 */
import type { ExchangeMode } from "../../services/trainer/src/decide/shards.ts";
import { oracleOf, SimWorker, World } from "./group-world.ts";
import { pickOf, type Random, randomFor } from "./lib/random.ts";
import { type Outcome, type Planned, planOf, type RunOptions } from "./lib/scenario.ts";

const steps = 200;
const oracle = oracleOf(steps);
const chaosMs = 6000;
const calmMs = 60_000;
const workersStartedMax = 40;
/** Of each second seed: runs of few updates, and faults in the middle of the training. */
const slowPace = 5;

/** Returns what was done; undefined when there was nobody to do it to. */
function inject(world: World, { kind, a, b }: Planned): string | undefined {
  const alive = world.alive();
  const [one, other] = [pickOf(alive, a), pickOf(alive, b)];
  if (one === undefined || other === undefined) return undefined;
  if (kind < 0.3) {
    one.end("killed");
    return "kill";
  }
  if (kind < 0.45) {
    one.leave();
    return "leave";
  }
  if (kind < 0.6) {
    one.pause();
    world.at(100 + b * 3000, () => one.isPaused && one.resume());
    return "pause";
  }
  if (kind < 0.8) {
    if (one === other) return undefined;
    world.cut(one.id, other.id);
    return "cut";
  }
  one.isBusAway = !one.isBusAway;
  return "bus away";
}

/** Everything works again. */
function heal(world: World): void {
  world.cuts.clear();
  world.note("healed");
  for (const worker of world.alive()) {
    worker.isBusAway = false;
    if (worker.isPaused) worker.resume();
    worker.watchRecord();
  }
}

function supply(world: World, wanted: number): void {
  while (world.alive().length < wanted && world.workers.size < workersStartedMax)
    new SimWorker(world, `w${world.workers.size + 1}`);
  world.at(300, () => supply(world, wanted));
}

function isTrained(world: World): boolean {
  const members = world.alive().filter(({ group }) => group.state === "member");
  return (
    world.nowMs > chaosMs + 3000 &&
    members.length > 0 &&
    members.every((member) => member.isTrained) &&
    world.facts.toldStep === steps
  );
}

export const run = (options: RunOptions): Promise<Outcome> => runWith(options, "exact");

/** Other batches are asked for, at random times. */
export interface BatchWishes {
  readonly everyMs: number;
}

/** Up to eight steps an update, and back. */
function wishForBatches(world: World, { everyMs }: BatchWishes, random: Random): void {
  const sizes = [1, 2, 3, 4, 8];
  world.at(2 * everyMs * random(), () => {
    if (world.nowMs > chaosMs) return;
    world.wantBatch(pickOf(sizes, random())!);
    wishForBatches(world, { everyMs }, random);
  });
}

export async function runWith(
  options: RunOptions,
  exchange: ExchangeMode,
  batches?: BatchWishes,
): Promise<Outcome> {
  const { seed } = options;
  const world = new World(seed, steps, oracle, exchange);
  world.pace = seed % 2 === 0 ? 1 : slowPace;
  const plan = planOf(options, { untilMs: chaosMs, everyMs: 350 });
  const faults: Record<string, number> = {};
  const wanted = 1 + (seed % 4);
  const standby = seed % 5 === 3 ? 1 + (seed % 2) : 0;
  if (standby > 0) world.trainingMax = wanted;
  supply(world, wanted + standby);
  if (batches !== undefined) wishForBatches(world, batches, randomFor(seed, "batches"));
  for (const planned of plan)
    world.at(planned.atMs, () => {
      const done = inject(world, planned);
      if (done !== undefined) faults[done] = (faults[done] ?? 0) + 1;
    });
  world.at(chaosMs, () => heal(world));
  const onError = (error: unknown) => world.fail(String((error as Error).stack ?? error));
  process.on("unhandledRejection", onError);
  let violation: string | undefined;
  try {
    if (!(await world.run(() => isTrained(world), chaosMs + calmMs)))
      violation = `training does not end after the last fault: ${world
        .alive()
        .map(({ id, group }) => `${id} ${group.state} g${group.generation} step ${group.step}`)}, ${
        world.facts.toldStep
      } steps are told`;
    violation ??= world.facts.audit();
  } catch (error) {
    violation = error instanceof Error ? error.message : String(error);
  } finally {
    process.off("unhandledRejection", onError);
  }
  const planned = plan.map(({ index }) => index);
  return { seed, events: world.events, planned, faults, violation, trace: world.log };
}
