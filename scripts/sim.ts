/** `npm run sim`: seeded simulations of the platform, by the thousand, or one with its story. */
import { availableParallelism } from "node:os";
import { parseArgs } from "node:util";
import { findMutations } from "../test/sim/find-mutations.ts";
import { runSeeds, seedsFrom, type Total } from "../test/sim/lib/run-seeds.ts";
import type { Outcome, ScenarioName } from "../test/sim/lib/scenario.ts";
import { scenarioNames } from "../test/sim/lib/scenario.ts";
import { regressions } from "../test/sim/regressions.ts";

const help = `npm run sim [-- options]

  --seeds N       so many seeds, shared by the scenarios (default 400), after those that once found a bug
  --first N       the first of them (default 1)
  --seed N        one seed, with its story; a failure is reduced to fewer faults
  --faults I,J    with --seed: only these faults of its plan
  --scenario S    ${scenarioNames.join(" or ")}; default all
  --mutations     break the product in known ways: each must be found within 1,000 seeds
  --threads N     default: one for each core
  --json          the last line is one JSON object
  --help`;

const { values } = parseArgs({
  options: {
    seeds: { type: "string", default: "400" },
    first: { type: "string", default: "1" },
    seed: { type: "string" },
    faults: { type: "string" },
    scenario: { type: "string" },
    mutations: { type: "boolean", default: false },
    threads: { type: "string", default: String(availableParallelism()) },
    json: { type: "boolean", default: false },
    help: { type: "boolean", default: false },
  },
});
const threads = Number(values.threads);
const scenarios = scenarioNames.filter((name) => (values.scenario ?? name) === name);

function sentenceOf(scenario: ScenarioName, { seed, planned, violation }: Outcome): string {
  const faults = ` --faults ${planned.join(",")}`;
  return `${violation}\n  npm run sim -- --scenario ${scenario} --seed ${seed}${faults}`;
}

/** One seed with its story; a failure is shrunk unless its faults were given. */
async function tellOne(scenario: ScenarioName, seed: number): Promise<boolean> {
  const only = values.faults?.split(",").filter(Boolean).map(Number);
  const order = { seed, only, withTrace: true, shrinks: only === undefined };
  const outcomes: Outcome[] = [];
  await runSeeds({ scenario, threads: 1, orders: [order], onOutcome: (one) => outcomes.push(one) });
  const outcome = outcomes[0]!;
  console.log(outcome.trace.join("\n"));
  const isGood = outcome.violation === undefined;
  console.log(isGood ? `${scenario} ${seed}: all holds` : sentenceOf(scenario, outcome));
  return isGood;
}

async function runAll(scenario: ScenarioName): Promise<Total> {
  const known = regressions.filter((one) => one.scenario === scenario);
  const share = Math.ceil(Number(values.seeds) / scenarios.length);
  const fresh = seedsFrom(Number(values.first), share, { shrinks: true });
  const orders = [...known.map(({ seed, only }) => ({ seed, only })), ...fresh];
  const startedMs = performance.now();
  const total = await runSeeds({ scenario, threads, orders });
  const seconds = ((performance.now() - startedMs) / 1000).toFixed(1);
  const faults = Object.entries(total.faults).map(([kind, count]) => `${kind} ${count}`);
  console.log(`${scenario}: ${total.seeds} seeds, ${total.events} events, ${seconds} s`);
  console.log(`  ${faults.join(", ")}`);
  for (const outcome of total.violations) console.log(sentenceOf(scenario, outcome));
  return total;
}

async function main(): Promise<boolean> {
  if (values.help) return console.log(help) === undefined;
  if (values.seed !== undefined) {
    let isGood = true;
    for (const scenario of scenarios)
      isGood = (await tellOne(scenario, Number(values.seed))) && isGood;
    return isGood;
  }
  const startedMs = performance.now();
  const totals = [];
  for (const scenario of scenarios) totals.push(await runAll(scenario));
  const found = values.mutations ? await findMutations({ threads, onLine: console.log }) : [];
  const violations = totals.reduce((sum, total) => sum + total.violations.length, 0);
  const missed = found.filter(({ atSeed }) => atSeed === undefined).length;
  const faults: Record<string, number> = {};
  for (const total of totals)
    for (const [kind, count] of Object.entries(total.faults))
      faults[kind] = (faults[kind] ?? 0) + count;
  const result = {
    benchmark: "sim",
    seeds: totals.reduce((sum, { seeds }) => sum + seeds, 0),
    events: totals.reduce((sum, { events }) => sum + events, 0),
    faults,
    violations,
    secondsWall: Math.round((performance.now() - startedMs) / 100) / 10,
    mutationsFound: found.length - missed,
    mutations: found,
  };
  if (values.json) console.log(JSON.stringify(result));
  return violations === 0 && missed === 0;
}

process.exitCode = (await main()) ? 0 : 1;
