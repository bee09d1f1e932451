/**
 * Seeded chaos on a job's group: kills, pauses, leaves, cuts between workers, a bus that is away.
 * `GROUP_SEED=123 node --test test/sim/group.test.ts` replays one seed and prints its story.
 */
import { ok } from "node:assert/strict";
import { test } from "node:test";
import { oracleOf, SimWorker, World } from "./group-world.ts";

const steps = 200;
const oracle = oracleOf(steps);
const chaosMs = 6000;
const calmMs = 60_000;

function fault(world: World): void {
  const alive = world.alive();
  const pick = () => alive[Math.floor(world.random() * alive.length)]!;
  const draw = world.random();
  const [a, b] = [pick(), pick()];
  if (a === undefined || b === undefined) return;
  if (draw < 0.3) a.end("killed");
  else if (draw < 0.45) a.leave();
  else if (draw < 0.6) a.pause();
  else if (draw < 0.8 && a !== b) world.cut(a.id, b.id);
  else a.isBusAway = !a.isBusAway;
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

async function chaos(seed: number): Promise<World> {
  const world = new World(seed, steps, oracle);
  let started = 0;
  const supply = () => {
    const wanted = 1 + (seed % 4);
    while (world.alive().length < wanted && started < 40) {
      started += 1;
      new SimWorker(world, `w${started}`);
    }
    world.at(300, supply);
  };
  const harm = () => {
    if (world.nowMs > chaosMs) return heal(world);
    fault(world);
    for (const worker of world.alive())
      if (worker.isPaused && world.random() < 0.3) worker.resume();
    world.at(world.random() * 700, harm);
  };
  supply();
  world.at(world.random() * 500, harm);
  const isDone = () => {
    const members = world.alive().filter(({ group }) => group.state === "member");
    return (
      world.nowMs > chaosMs + 3000 &&
      members.length > 0 &&
      members.every(({ isTrained }) => isTrained)
    );
  };
  let hasEnded = false;
  try {
    hasEnded = await world.run(isDone, chaosMs + calmMs);
  } finally {
    if (given !== undefined) process.stdout.write(`${world.log.join("\n")}\n`);
  }
  ok(
    hasEnded,
    `training ends after the last fault; ${world.alive().map(({ id, group }) => `${id} ${group.state} g${group.generation} step ${group.step}`)}`,
  );
  return world;
}

const given = process.env["GROUP_SEED"];
const first = Number(process.env["GROUP_SEED_FIRST"] ?? 1);
const count = Number(process.env["GROUP_SEEDS"] ?? 150);
const seeds =
  given === undefined ? Array.from({ length: count }, (_, i) => first + i) : [Number(given)];

test(`${seeds.length} seeds of chaos: one generation at a time, and the oracle's bits`, async () => {
  for (const seed of seeds) {
    try {
      await chaos(seed);
    } catch (error) {
      throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}`, {
        cause: error,
      });
    }
  }
});
