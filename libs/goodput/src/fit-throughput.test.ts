import { equal, ok } from "node:assert/strict";
import { test } from "node:test";
import { fillNormal } from "@coxswain/domain";
import fc from "fast-check";
import { errorOf, fitThroughput, type StepObservation } from "./fit-throughput.ts";
import { gradSeconds, type Spread, type StepModel, stepSeconds } from "./throughput.ts";

const truth: StepModel = {
  alphaGrad: 0.05,
  betaGrad: 0.002,
  alphaNodes: 0.08,
  betaNodes: 0.002,
  alphaLocal: 0.02,
  betaLocal: 0.001,
  gamma: 2,
};
const spreads: readonly Spread[] = [
  { nodes: 1, workers: 1 },
  { nodes: 1, workers: 2 },
  { nodes: 1, workers: 4 },
  { nodes: 2, workers: 8 },
  { nodes: 4, workers: 16 },
];

/** What one measures of a model, each time off by a factor of about e^(noise). */
function measured(model: StepModel, of: readonly Spread[], noise = 0, seed = 1): StepObservation[] {
  const draws = new Float32Array(of.length * 4);
  fillNormal({ seed, purpose: 1 }, draws);
  return of.flatMap((spread, index) =>
    [32, 64].map((samples, batch) => {
      const factor = (k: number) => Math.exp(noise * draws[index * 4 + batch * 2 + k]!);
      return {
        ...spread,
        samples,
        gradSeconds: gradSeconds(model, samples) * factor(0),
        stepSeconds: stepSeconds(model, spread, { samples, accumulated: 0 }) * factor(1),
      };
    }),
  );
}

const missOf = (model: StepModel, spread: Spread) => {
  const batch = { samples: 48, accumulated: 1 };
  return Math.abs(stepSeconds(model, spread, batch) / stepSeconds(truth, spread, batch) - 1);
};

test("a model of the same form is found again", () => {
  const model = fitThroughput(measured(truth, spreads));
  for (const spread of spreads) ok(missOf(model, spread) < 0.02, JSON.stringify(model));
});

test("times that are 5 % off lead to predictions less than 10 % off", () => {
  for (const seed of [1, 2, 3, 4, 5]) {
    const model = fitThroughput(measured(truth, spreads, 0.05, seed));
    for (const spread of spreads) ok(missOf(model, spread) < 0.1, `seed ${seed}`);
  }
});

test("the gradient is that of the objective", () => {
  const observations = measured(truth, spreads, 0.1);
  const at = fc.array(fc.double({ min: -6, max: 0, noNaN: true }), {
    minLength: 6,
    maxLength: 6,
  });
  fc.assert(
    fc.property(at, fc.double({ min: 1.1, max: 9, noNaN: true }), (times, gamma) => {
      const x = [...times, gamma];
      const slope = new Array<number>(7).fill(0);
      errorOf(observations, x, slope);
      for (const index of x.keys()) {
        const valueAt = (change: number) =>
          errorOf(observations, x.with(index, x[index]! + change), new Array<number>(7).fill(0));
        const byDifference = (valueAt(1e-5) - valueAt(-1e-5)) / 2e-5;
        ok(Math.abs(byDifference - slope[index]!) < 1e-4 * (1 + Math.abs(byDifference)));
      }
    }),
  );
});

const priors: Record<string, { seen: readonly Spread[]; free: Spread; than: Spread }> = {
  "after one worker, more are believed to cost nothing": {
    seen: spreads.slice(0, 1),
    free: { nodes: 1, workers: 4 },
    than: { nodes: 1, workers: 1 },
  },
  "after one count on several nodes, a larger one is believed to take as long": {
    seen: spreads.slice(0, 4),
    free: { nodes: 16, workers: 64 },
    than: { nodes: 2, workers: 8 },
  },
};

for (const [name, { seen, free, than }] of Object.entries(priors)) {
  test(name, () => {
    const model = fitThroughput(measured(truth, seen));
    const seconds = (spread: Spread) => stepSeconds(model, spread, { samples: 32, accumulated: 0 });
    ok(Math.abs(seconds(free) / seconds(than) - 1) < 1e-3);
  });
}

test("without a measured gradient time the steps alone are fitted", () => {
  const steps = measured(truth, spreads).map(({ gradSeconds: _, ...rest }) => rest);
  const model = fitThroughput(steps);
  for (const { nodes, workers, samples, stepSeconds: seconds } of steps) {
    const predicted = stepSeconds(model, { nodes, workers }, { samples, accumulated: 0 });
    ok(Math.abs(predicted / seconds - 1) < 0.03, `${nodes},${workers}: ${predicted}, ${seconds}`);
  }
});

test("the same measurements give the same model, bit for bit", () => {
  const observations = measured(truth, spreads, 0.05);
  equal(JSON.stringify(fitThroughput(observations)), JSON.stringify(fitThroughput(observations)));
});
