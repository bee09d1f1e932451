/** Looks for a seed that notices a mutation of the product. */
import { runSeeds, seedsFrom } from "./lib/run-seeds.ts";
import { type KnownMutation, mutations } from "./mutations.ts";

export interface Found {
  readonly name: string;
  readonly scenario: string;
  /** The least seed that noticed it, of those that were run; undefined when none did. */
  readonly atSeed: number | undefined;
  /** What did not hold. */
  readonly how: string;
}

const seedsMax = 1000;

/** @param firstTry a seed that is likely to notice it, tried before all others */
export async function findMutation(
  mutation: KnownMutation,
  threads: number,
  firstTry?: number,
): Promise<Found> {
  const { violations } = await runSeeds({
    scenario: mutation.scenario,
    mutation,
    threads,
    orders: [...(firstTry === undefined ? [] : [{ seed: firstTry }]), ...seedsFrom(1, seedsMax)],
    stopsAtViolation: true,
  });
  const first = violations.sort((a, b) => a.seed - b.seed)[0];
  const how = (first?.violation ?? "").split("\n")[0]!.slice(0, 200);
  return { name: mutation.name, scenario: mutation.scenario, atSeed: first?.seed, how };
}

export async function findMutations(options: {
  readonly threads: number;
  readonly onLine: (line: string) => void;
}): Promise<Found[]> {
  const all: Found[] = [];
  for (const mutation of mutations) {
    const found = await findMutation(mutation, options.threads);
    all.push(found);
    const when = found.atSeed === undefined ? "NOT FOUND" : `seed ${found.atSeed}: ${found.how}`;
    options.onLine(`${found.name}: ${when}`);
  }
  return all;
}
